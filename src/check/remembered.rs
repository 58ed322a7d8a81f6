//! What `check` says of the positions in the queue: those of streams that the config does not name,
//! and those that were collected from another address; and with which pages `run` would begin.
//!
//! Promises: reads the checkpoint and `learned` only, so it works while the daemon runs; a missing
//! or unreadable queue is not reported here, because another step does that. Never: takes the lock.

use super::sample::Sample;
use super::step::{Name, Outcome, Step};
use crate::cause::Cause;
use crate::config::{Config, Integration};
use crate::core::rows::Rows;
use crate::os::memory::PageBound;
use crate::queue::inspect::Inspector;
use crate::queue::learned;
use crate::queue::real::RealDisk;
use crate::record::{Kind, Mention, StreamName};

/// What the queue remembers, if there is one.
pub struct Remembered(Option<Inspector<RealDisk>>);

impl Remembered {
    pub fn of(config: &Config) -> Remembered {
        Remembered(Inspector::open(RealDisk::new(&config.queue.dir), None).ok())
    }

    /// Whether the queue has no position, or there is none.
    pub fn is_new(&self) -> bool {
        self.0.as_ref().is_none_or(|inspector| inspector.orphans(&[]).is_empty())
    }

    /// With which page `run` would begin each stream of an integration.
    pub fn samples(config: &Config, integration: &Integration) -> Vec<Sample> {
        let whole = config.network.whole();
        let most = PageBound::of(config.polling.max_page).bytes;
        let mut disk = RealDisk::new(&config.queue.dir);
        let sample = |kind: &Kind| {
            let name = StreamName::polled(integration.name.as_str(), *kind);
            let learned = learned::of_stream(&mut disk, &name);
            let rows = Rows::new(Some(whole)).remembering(&learned).now();
            Sample { kind: *kind, rows, whole, most }
        };
        integration.streams.iter().map(sample).collect()
    }

    /// One step for each integration that has positions and is not in the config.
    pub fn orphans(&self, config: &Config) -> Vec<Step> {
        let Some(inspector) = &self.0 else { return vec![] };
        let orphans = inspector.orphans(&config.stream_names());
        let steps = orphans.iter().filter_map(|orphan| {
            let all = config.integrations.iter();
            let names = all.map(|one| (&*one.name, one.name_was.as_deref()));
            let mention = Mention::of(&orphan.name.integration, names);
            if let Mention::NameWas(new) = mention {
                let tenants = orphan.tenant.as_deref().zip(inspector.tenant_of(new));
                // Otherwise the next start follows name_was.
                tenants.filter(|(was, now)| was != now)?;
            }
            let position = orphan.position.to_the_second();
            let what = format!(
                "the queue has {} up to {position}, but no integration collects it",
                orphan.name
            );
            let outcome = Outcome::noted(Cause::StreamOrphaned, what, orphan.remedy(mention));
            Some(Step::at_once(Name::Positions, outcome))
        });
        steps.collect()
    }

    /// A failure where an integration's positions were collected from another address, as `run`
    /// would hold them.
    pub fn tenant(&self, config: &Config, integration: &Integration) -> Option<Step> {
        let name = &integration.name;
        let was = self.0.as_ref()?.tenant_of(name).filter(|was| *was != integration.tenant)?;
        let what = format!(
            "the positions of {name} were collected from {was}, and tenant is {} now; until that is \
             confirmed none of its streams is polled",
            integration.tenant
        );
        let other = config.integrations.iter().find(|other| other.tenant == was);
        let remedy = other.map(|other| format!(
            "{was} is the address of {} in the config. If names or addresses were swapped, give each \
             integration its former name back",
            other.name
        ));
        let remedy = remedy.unwrap_or_else(|| format!(
            "Stop the daemon. The same tenant under a new address: s1-coralogix queue adopt {name}, \
             which keeps the positions. Another tenant: s1-coralogix queue adopt {name} --begin-anew. \
             A mistyped address: correct it"
        ));
        let outcome = Outcome::failed(Cause::TenantChanged, what, remedy);
        Some(Step::at_once(Name::Positions, outcome))
    }
}
