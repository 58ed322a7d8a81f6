//! `status`: what the daemon last said of itself, as a table or as JSON.
//!
//! Promises: reads the status file only, so it works while the daemon runs; says so when the
//! daemon does not run. Never: opens the queue.

use std::fmt::Write as _;
use std::path::Path;

use crate::cli::Exit;
use crate::edge::config_file;
use crate::report::{Lane, Status};
use crate::time::{Span, Stamp};

use super::{Failure, print};

/// Where the status file is when the config can't be read: it may be readable for root alone, and
/// anybody may look at the status.
const STATUS_FILE_DEFAULT: &str = "/run/s1-coralogix/status.json";

/// Shows the status file that the config names.
pub fn status(config_file: &Path, json: bool) -> Result<Exit, Failure> {
    let config = config_file::load(config_file);
    let (file, queue_dir) = match &config {
        Ok((config, _)) => (config.status_file.as_path(), Some(config.queue.dir.as_path())),
        Err(_) => (Path::new(STATUS_FILE_DEFAULT), None),
    };
    let status = match Status::read(file) {
        Ok(status) => status,
        Err(why) if why.kind() == std::io::ErrorKind::NotFound => {
            return Err(Failure::new(
                Exit::NotRunning,
                format!(
                    "The daemon is not running, or runs with another status.file: there is no {}. \
                     Start it: systemctl start s1-coralogix{}",
                    file.display(),
                    config.as_ref().err().map_or(String::new(), |why| format!("\n{why}"))
                ),
            ));
        }
        Err(why) => {
            return Err(Failure::new(
                Exit::Failed,
                format!("Failed to read the status file {}: {why}", file.display()),
            ));
        }
    };
    let running = is_running(&status, queue_dir);
    if json {
        let mut value =
            serde_json::to_value(&status).map_err(|why| Failure::new(Exit::Failed, why))?;
        value["running"] = running.into();
        print(&format!("{value:#}\n"))?;
    } else {
        print(&table(&status, running))?;
    }
    Ok(match () {
        () if !running => Exit::NotRunning,
        () if status.state == "healthy" => Exit::Done,
        () => Exit::Failed,
    })
}

/// The lock on the queue tells best; where it can't be looked at, the process does.
fn is_running(status: &Status, queue_dir: Option<&Path>) -> bool {
    let locked = queue_dir.and_then(crate::queue::real::is_in_use);
    locked.unwrap_or_else(|| Path::new(&format!("/proc/{}", status.pid)).exists())
}

/// Everything in 80 columns.
fn table(status: &Status, running: bool) -> String {
    let mut out = String::new();
    let state = if running { status.state.as_str() } else { "not running" };
    let uptime = Span::seconds(status.uptime_seconds);
    let _ = writeln!(out, "s1-coralogix {}: {state}", status.version);
    let _ = writeln!(
        out,
        "  {}, up {uptime}, as of {}",
        if running { format!("process {}", status.pid) } else { "last seen".to_owned() },
        seconds(&status.updated)
    );
    let _ =
        writeln!(out, "\n{:<30} {:<18} {:>12} {:>12}", "SentinelOne", "state", "collected", "lag");
    for stream in &status.streams {
        let lag = stream.lag_seconds.map_or("-".to_owned(), |s| Span::seconds(s).to_string());
        row(&mut out, &stream.name, &stream.lane, &stream.collected.to_string(), &lag);
    }
    for integration in &status.integrations {
        if let (Some(end), Some(days)) = (&integration.token_ends, integration.token_days_left) {
            let name = &integration.name;
            let _ = writeln!(out, "  token of {name} ends in {days} days, {}", seconds(end));
        }
        if integration.lane.mood != "healthy" {
            explain(&mut out, &integration.lane);
        }
    }
    let queue = &status.queue;
    let _ = writeln!(
        out,
        "\n{:<30} {:<18} {:>12} {:>12}",
        "Coralogix", "state", "delivered", "waiting"
    );
    let sink = &status.coralogix;
    row(&mut out, "delivery", &sink.lane, &sink.delivered.to_string(), &queue.waiting.to_string());
    let _ = writeln!(
        out,
        "\nQueue: {} of {} on disk, {} parked{}",
        size(queue.bytes),
        size(queue.max_bytes),
        queue.parked,
        match queue.oldest.as_deref().and_then(Stamp::parse) {
            Some(oldest) => format!(", oldest record {}", seconds(&oldest.to_string())),
            None => String::new(),
        }
    );
    out
}

fn row(out: &mut String, name: &str, lane: &Lane, left: &str, right: &str) {
    let state = lane.reason.replace('_', " ");
    let _ = writeln!(out, "{name:<30} {state:<18} {left:>12} {right:>12}");
    if lane.mood != "healthy" {
        explain(out, lane);
    }
}

fn explain(out: &mut String, lane: &Lane) {
    let _ = writeln!(out, "  {} for {}", lane.text, Span::seconds(lane.for_seconds));
    if !lane.detail.is_empty() {
        let _ = writeln!(out, "  {}", lane.detail);
    }
    if let Some(next) = lane.next_in_seconds {
        let _ = writeln!(out, "  next try in {}", Span::seconds(next));
    }
}

/// RFC 3339 without the fraction.
fn seconds(stamp: &str) -> String {
    match stamp.split_once('.') {
        Some((whole, _)) => format!("{whole}Z"),
        None => stamp.to_owned(),
    }
}

fn size(bytes: u64) -> String {
    const UNITS: [(&str, u64); 3] = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];
    for (unit, one) in UNITS {
        if bytes >= one {
            return format!("{}.{} {unit}", bytes / one, bytes % one * 10 / one);
        }
    }
    format!("{bytes} B")
}
