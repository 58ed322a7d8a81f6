//! `queue parked`: the records that Coralogix refused.

use serde_json::json;

use super::{Which, look, place_of, take, text_of};
use crate::answer;
use crate::cli::Exit;
use crate::command::{Failure, print};
use crate::config::Config;
use crate::message;
use crate::queue::inspect;
use crate::record::Place;

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
                "answer": answer::harmless(&one.why),
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
        out += &format!("  {}\n", answer::one_line(&one.why));
    }
    match parked.len() {
        0 => out += "No record is parked: Coralogix refused none.\n",
        n => {
            out += &format!(
                "{n} parked. With the daemon stopped: `queue parked retry NAME` sends one again, \
                 `queue parked drop NAME` gives it up.\n"
            );
        }
    }
    print(&out)
}

pub fn show(config: &Config, name: &str) -> Result<Exit, Failure> {
    let mut looked = look(config)?;
    let frame = looked.inspector.parked_frame(name).map_err(|why| unreadable(name, &why))?;
    let parked = looked.inspector.parked().unwrap_or_default();
    let why = parked.into_iter().find(|one| one.name == name).map(|one| one.why);
    let key = frame.entries.first().map(|meta| meta.key);
    let id = key.map_or("?".to_owned(), |key| format!("{}, version of {}", key.id, key.stamp));
    let head = format!("{id}, of {}\nrefused with: ", frame.stream);
    let entry = inspect::record(frame, 0).unwrap_or_default();
    let why = answer::harmless(why.as_deref().unwrap_or("?"));
    print(&format!("{head}{why}\n{}\n", text_of(&entry)))
}

pub fn retry(config: &Config, which: &Which) -> Result<Exit, Failure> {
    let done =
        each(config, which, "send a parked record again", |queue, at| queue.retry_parked(at))?;
    print(&format!("{done} put back into the queue; the next run sends them again.\n"))
}

pub fn drop(config: &Config, which: &Which) -> Result<Exit, Failure> {
    let done = each(config, which, "drop a parked record", |queue, at| queue.drop_parked(at))?;
    print(&format!(
        "{done} given up for good; Coralogix will be told of the gap by the next run.\n"
    ))
}

fn each(
    config: &Config,
    which: &Which,
    what: &str,
    act: impl Fn(
        &mut crate::queue::RealQueue,
        Place,
    ) -> Result<Option<crate::record::Held>, crate::queue::QueueError>,
) -> Result<String, Failure> {
    let names = match which {
        Which::One(name) => vec![name.clone()],
        Which::All => {
            let parked = look(config)?.inspector.parked();
            let parked = parked.map_err(|why| unreadable("parked/", &why))?;
            parked.into_iter().map(|one| one.name).collect()
        }
    };
    let mut queue = take(config, what)?;
    let mut done = 0;
    let mut failed = None;
    for name in &names {
        let outcome = match place_of(name) {
            Some(at) => act(&mut queue, at).map_err(|why| why.to_string()),
            None => Ok(None),
        };
        match outcome {
            Ok(Some(_)) => done += 1,
            Ok(None) => {
                failed = Some(format!(
                    "no parked record is named {}; `queue parked list` names them",
                    answer::one_line(name)
                ));
                break;
            }
            Err(why) => {
                failed = Some(why);
                break;
            }
        }
    }
    queue.close(crate::edge::clock::mono());
    let records = format!("{done} record{}", if done == 1 { "" } else { "s" });
    match failed {
        None => Ok(records),
        Some(why) => {
            let text = format!("Failed to {what}: {why}. {records} were done before");
            Err(Failure::new(message::PARKED_STAYS, Exit::Failed, text))
        }
    }
}

fn unreadable(what: &str, why: &std::io::Error) -> Failure {
    let what = answer::one_line(what);
    Failure::new(
        message::PARKED_UNREADABLE,
        Exit::Failed,
        format!(
            "Failed to read the parked record {what}: {why}. `queue parked list` names those there are"
        ),
    )
}
