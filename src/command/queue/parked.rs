//! `queue parked`: the records that Coralogix rejected.

use serde_json::json;

use super::aside::{self, Kind};
use super::{Which, look, take, text_of};
use crate::cli::Exit;
use crate::command::{Failure, print};
use crate::config::Config;
use crate::message;
use crate::plain;
use crate::queue::{QueueError, RealQueue, inspect};
use crate::record::{QueuePosition, QueueStatus};

const KIND: Kind = Kind {
    one: "record",
    none_named: "name a parked record",
    list: "queue parked list",
    stays: message::PARKED_STAYS,
};

pub fn list(config: &Config, json: bool) -> Result<Exit, Failure> {
    let parked = look(config)?.inspector.parked().map_err(|why| unreadable("parked/", &why))?;
    let mut out = String::new();
    if json {
        for one in &parked {
            let value = json!({
                "name": one.name,
                "stream": one.stream.as_ref().map(ToString::to_string),
                "id": one.key.map(|key| key.id.to_string()),
                "time": one.key.map(|key| key.stamp.to_string()),
                "bytes": one.bytes,
                "answer": plain::text(&one.why),
            });
            out += &format!("{value}\n");
        }
        return print(&out);
    }
    for one in &parked {
        let stream = one.stream.as_ref().map_or("?".to_owned(), ToString::to_string);
        let (id, time) = one.key.map_or(("?".to_owned(), "-".to_owned()), |key| {
            (key.id.to_string(), key.stamp.to_the_second())
        });
        out += &format!("{}  {stream} {id} of {time}\n", one.name);
        out += &format!("  {}\n", plain::one_line(&one.why));
    }
    match parked.len() {
        0 => out += "No record is parked.\n",
        n => {
            out += &format!(
                "{n} parked. With the daemon stopped: `queue parked retry NAME` sends one again, \
                 `queue parked drop NAME` discards it.\n"
            );
        }
    }
    print(&out)
}

pub fn show(config: &Config, name: &str) -> Result<Exit, Failure> {
    let mut looked = look(config)?;
    let (_, frame) = looked.inspector.parked_frame(name).map_err(|why| unreadable(name, &why))?;
    let parked = looked.parked()?;
    let why = parked.into_iter().find(|one| one.name == name).map(|one| one.why);
    let key = frame.entries.first().map(|meta| meta.key);
    let id = key.map_or("?".to_owned(), |key| format!("{}, version of {}", key.id, key.stamp));
    let head = format!("{id}, of {}\nrejected with: ", frame.stream);
    let entry = inspect::record(frame, 0).unwrap_or_default();
    let why = plain::text(why.as_deref().unwrap_or("?"));
    print(&format!("{head}{why}\n{}\n", text_of(&entry)))
}

pub fn retry(config: &Config, which: &Which) -> Result<Exit, Failure> {
    let done =
        each(config, which, "send a parked record again", |queue, at| queue.retry_parked(at))?;
    print(&format!("{done} put back into the queue; the next run sends them again.\n"))
}

pub fn drop(config: &Config, which: &Which) -> Result<Exit, Failure> {
    let done = each(config, which, "drop a parked record", |queue, at| queue.drop_parked(at))?;
    print(&format!("{done} discarded; the next run delivers the gap to Coralogix.\n"))
}

fn each(
    config: &Config,
    which: &Which,
    what: &str,
    act: impl Fn(&mut RealQueue, QueuePosition) -> Result<Option<QueueStatus>, QueueError>,
) -> Result<String, Failure> {
    let names: Vec<String> = match which {
        Which::One(name) => vec![name.clone()],
        Which::All => {
            let parked = look(config)?.inspector.parked();
            let parked = parked.map_err(|why| unreadable("parked/", &why))?;
            parked.into_iter().map(|one| one.name).collect()
        }
    };
    aside::each(take(config, what)?, &names, what, &KIND, act)
}

fn unreadable(what: &str, why: &std::io::Error) -> Failure {
    let what = plain::one_line(what);
    Failure::new(
        message::PARKED_UNREADABLE,
        Exit::Failed,
        format!(
            "Failed to read the parked record {what}: {why}. `queue parked list` shows the \
             existing ones"
        ),
    )
}
