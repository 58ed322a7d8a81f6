//! `queue adopt`: decides about the positions of an integration whose name or address was changed.
//!
//! Promises: what does not fit the config is refused before anything is changed; an interrupted
//! command can be run again. Never: sends a request to a service.

use super::take;
use crate::cli::Exit;
use crate::cli::queue::Adopt;
use crate::command::{Failure, print};
use crate::config::{Config, Integration};
use crate::message;
use crate::os::clock;
use crate::plain;
use crate::queue::RealQueue;
use crate::queue::adopt::{AdoptError, SaidBy};

pub fn adopt(config: &Config, name: &str, how: &Adopt) -> Result<Exit, Failure> {
    let configured = integration(config, name);
    match how {
        Adopt::For(new) => fits(config, name, new)?,
        Adopt::Keep if configured.is_none() => {
            return Err(refused(format!(
                "Failed to confirm the address of {}: the config has no integration of this name. If it \
                 was renamed, write s1-coralogix queue adopt {} NEW with the name it has now",
                plain::one_line(name),
                plain::one_line(name)
            )));
        }
        Adopt::Keep | Adopt::BeginAnew => {}
    }
    let mut queue = take(config, "adopt streams")?;
    let done = match how {
        Adopt::For(new) => rename(&mut queue, config, name, new),
        Adopt::Keep => keep(&mut queue, config, name, configured),
        Adopt::BeginAnew => begin_anew(&mut queue, name, configured),
    };
    queue.close(clock::mono());
    print(&done?)
}

fn integration<'a>(config: &'a Config, name: &str) -> Option<&'a Integration> {
    config.integrations.iter().find(|integration| integration.name == name)
}

/// Whether the config allows it: it names the new integration, and does not name the streams of the
/// old one that are adopted.
fn fits(config: &Config, name: &str, new: &str) -> Result<(), Failure> {
    if integration(config, new).is_none() {
        return Err(refused(format!(
            "Failed to adopt streams for {}: the config has no integration of this name. Rename the \
             integration in the config first",
            plain::one_line(new)
        )));
    }
    if name == new {
        return Err(refused(format!(
            "Failed to adopt streams: both names are {name}. To confirm its address, give the name once"
        )));
    }
    Ok(())
}

fn refused(text: String) -> Failure {
    Failure::new(message::ADOPT_REFUSED, Exit::Failed, text)
}

/// Refuses if the positions of `name` are of the address that another integration has in the config:
/// those of one tenant would be used for another, which would pass over records without a gap.
fn swapped(
    queue: &RealQueue,
    config: &Config,
    name: &str,
    new: Option<&Integration>,
) -> Result<(), Failure> {
    let was = queue.tenant_of(name).filter(|was| new.is_some_and(|new| new.tenant != *was));
    let other = config.integrations.iter().find(|other| was == Some(other.tenant.as_str()));
    let Some(other) = other else { return Ok(()) };
    Err(refused(format!(
        "Failed to adopt the positions of {name}: they were collected from {}, which is the address \
         of {} in the config. Nothing was changed. If names or addresses were swapped, give each \
         integration its former name back. To discard the positions: s1-coralogix queue adopt {name} \
         --begin-anew",
        other.tenant, other.name
    )))
}

fn rename(
    queue: &mut RealQueue,
    config: &Config,
    name: &str,
    new: &str,
) -> Result<String, Failure> {
    swapped(queue, config, name, integration(config, new))?;
    let adopted =
        queue.adopt_streams(name, new, SaidBy::Person).map_err(|why| failed(name, &why))?;
    if adopted.is_empty() {
        return Err(nothing(queue, name));
    }
    let mut out = String::new();
    for one in &adopted {
        let position = one.position.to_the_second();
        out += &format!("{} is now {}; it continues from {position}.\n", one.was, one.now);
    }
    Ok(out)
}

fn keep(
    queue: &mut RealQueue,
    config: &Config,
    name: &str,
    configured: Option<&Integration>,
) -> Result<String, Failure> {
    let tenant = &configured.expect("only what the config names is kept").tenant;
    if !queue.has_positions(name) {
        return Err(nothing(queue, name));
    }
    let was = queue.tenant_of(name).unwrap_or("an address that was not noted").to_owned();
    if was == *tenant {
        return Ok(format!(
            "The positions of {name} are of {tenant} already; nothing was changed.\n"
        ));
    }
    swapped(queue, config, name, configured)?;
    queue.confirm_tenant(name, tenant).map_err(|why| failed(name, &why.into()))?;
    Ok(format!(
        "The positions of {name}, collected from {was}, are kept for {tenant}; the next run \
         continues from them.\n"
    ))
}

fn begin_anew(
    queue: &mut RealQueue,
    name: &str,
    configured: Option<&Integration>,
) -> Result<String, Failure> {
    let tenant = configured.map(|integration| integration.tenant.as_str());
    let forgotten = queue.begin_anew(name, tenant).map_err(|why| failed(name, &why.into()))?;
    if forgotten.is_empty() {
        return Err(nothing(queue, name));
    }
    let mut out = String::new();
    for (stream, position) in &forgotten {
        out += &format!(
            "The position of {stream} is discarded; it was collected up to {}.\n",
            position.to_the_second()
        );
    }
    out += match configured {
        Some(_) => "The next run starts at `start`, and the gap is delivered to Coralogix.\n",
        None => "The next run delivers the gap to Coralogix.\n",
    };
    Ok(out)
}

fn failed(name: &str, why: &AdoptError) -> Failure {
    let name = plain::one_line(name);
    let text = format!(
        "Failed to adopt the streams of {name}: {why}. Check the disk (dmesg), and run it again"
    );
    Failure::new(message::ADOPT_FAILED, Exit::Failed, text)
}

/// No stream has this name; the text lists those that there are.
fn nothing(queue: &RealQueue, name: &str) -> Failure {
    let orphans: Vec<String> =
        queue.orphans().into_iter().map(|orphan| orphan.name.to_string()).collect();
    let there = match orphans.is_empty() {
        true => "The config names every stream that has a position".to_owned(),
        false => format!("Those that are not in the config: {}", orphans.join(", ")),
    };
    let name = plain::one_line(name);
    let text = format!("The queue has no position of {name} to move. {there}");
    Failure::new(message::ADOPT_NOTHING, Exit::Failed, text)
}
