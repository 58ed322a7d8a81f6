//! What `check` says of the queue's memory: positions that no integration goes on from, and those that
//! were collected from another address; and which pages `run` would begin with.
//!
//! Promises: reads the checkpoint and `learned` only, so it works while the daemon runs; a queue that is not there or
//! can't be read says nothing here, for another step tells that. Never: takes the lock.

use crate::config::{Config, Integration};
use crate::core::rows::Rows;
use crate::edge::cause::Cause;
use crate::edge::memory::PageBound;
use crate::edge::sample::Sample;
use crate::edge::step::{Name, Outcome, Step};
use crate::queue::inspect::Inspector;
use crate::queue::learned;
use crate::queue::real::RealDisk;
use crate::record::{Kind, StreamName};

use super::run::stream_names;

/// What the queue remembers, if there is one.
pub struct Remembered(Option<Inspector<RealDisk>>);

impl Remembered {
    pub fn of(config: &Config) -> Remembered {
        Remembered(Inspector::open(RealDisk::new(&config.queue.dir), None).ok())
    }

    /// How `run` would begin with each stream of an integration.
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

    /// One step for each integration whose streams the config does not name.
    pub fn orphans(&self, config: &Config) -> Vec<Step> {
        let Some(inspector) = &self.0 else { return vec![] };
        let orphans = inspector.orphans(&stream_names(config));
        let steps = orphans.iter().map(|orphan| {
            let position = orphan.position.to_the_second();
            let what = format!(
                "the queue has {} up to {position}, but no integration collects it",
                orphan.name
            );
            let mut integrations = config.integrations.iter();
            let remedy = orphan.remedy(integrations.any(|one| one.name == orphan.name.integration));
            Step::at_once(Name::Positions, Outcome::noted(Cause::StreamOrphaned, what, remedy))
        });
        steps.collect()
    }

    /// A failure where an integration's positions are of another address, as `run` sees it.
    pub fn tenant(&self, integration: &Integration) -> Option<Step> {
        let name = &integration.name;
        let was = self.0.as_ref()?.tenant_of(name).filter(|was| *was != integration.tenant)?;
        let what = format!(
            "the positions of {name} were collected from {was}, and tenant is {} now; until that is \
             confirmed none of its streams is polled",
            integration.tenant
        );
        let remedy = format!(
            "Stop the daemon. The same tenant under a new address: s1-coralogix queue adopt {name}, \
             which keeps the positions. Another tenant: s1-coralogix queue adopt {name} --begin-anew. \
             A mistyped address: correct it"
        );
        let outcome = Outcome::failed(Cause::TenantChanged, what, remedy);
        Some(Step::at_once(Name::Positions, outcome))
    }
}
