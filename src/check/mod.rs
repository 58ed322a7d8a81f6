//! The steps of `check`: the config, the queue, each service, one after the other.
//!
//! Holds: `check`, which makes all of them, and a file for each part. `local` needs no network,
//! `remote` connects exactly as `run` does, `interpret` and `ingress` say what an answer means,
//! `compare` which clock is wrong, `left_behind` what was forgotten in other directories, `sample`
//! what a page costs, `remembered` what the queue knows.
//! Promises: changes nothing, delivers nothing; each step is reported as it is done; never says
//! that something works that was not tried. Never: prints; how a step is shown and what the exit
//! code is are `command::check`'s.

mod compare;
mod ingress;
mod interpret;
pub mod left_behind;
mod local;
mod remembered;
mod remote;
mod sample;
pub mod step;

#[cfg(test)]
mod remote_tests;

use std::cell::LazyCell;
use std::path::Path;
use std::sync::Arc;

use crate::cause::Cause;
use crate::config::{Config, Finding};
use crate::edge::system::Services;
use crate::net::certificate_clock::CertificateClock;
use crate::net::proxy::ProxyEnvironment;
use crate::os::clock::{self, Anchor};
use crate::os::owner;

use remembered::Remembered;
use step::{Fault, Name, Outcome, Step};

/// Receives the steps.
pub trait Listener {
    /// What the steps from here on are about: `config`, `integration` or `coralogix`; the
    /// integration's name; the file or address.
    fn head(&mut self, about: &'static str, name: Option<&str>, place: &str);

    fn step(&mut self, step: Step);
}

/// How much is checked.
#[derive(Clone, Copy)]
pub struct Scope<'a> {
    /// Only what can be found out without sending anything.
    pub offline: bool,
    pub proxies: &'a ProxyEnvironment,
}

/// Checks a valid config, which may have warnings.
pub fn check(
    config: &Config,
    warnings: &[Finding],
    config_file: &Path,
    scope: Scope,
    page: &mut dyn Listener,
) {
    page.head("config", None, &config_file.display().to_string());
    let seen_as = match owner::act_as_owner(&config.queue.dir) {
        Ok(seen_as) => seen_as,
        Err(why) => {
            page.step(Step::at_once(Name::Queue, local::not_as_owner(&why)));
            return;
        }
    };
    let valid = match local::config(config_file, seen_as.as_deref()) {
        Ok(text) => text,
        Err(outcome) => {
            page.step(Step::at_once(Name::Config, outcome));
            return;
        }
    };
    if let Some(owner) = owner::is_another(&config.queue.dir) {
        page.step(Step::at_once(Name::Queue, local::anothers(&config.queue.dir, &owner)));
        return;
    }
    let clock = Arc::new(CertificateClock::of_queue(&config.queue.dir, false));
    let mut services = match Services::new(config, scope.proxies, &Arc::default(), &clock) {
        Ok(services) => {
            page.step(Step::at_once(Name::Config, Outcome::Passed(valid)));
            warnings.iter().for_each(|finding| page.step(doubtful(finding)));
            services
        }
        Err(error) => {
            let outcome = Outcome::Failed(Fault::of(Cause::ConfigInvalid, error.problem()));
            page.step(Step::at_once(Name::Config, outcome));
            return;
        }
    };
    let remembered = places(config, page);
    if let Some(outcome) = remote::own_clock() {
        page.step(Step::at_once(Name::Clock, outcome));
    }
    // The other service's time is needed only where two clocks differ, and asked for once.
    let sink = &services.sink.client;
    let sinks_date = LazyCell::new(|| sink.date().map(|date| Anchor { date, at: clock::mono() }));
    let mut tenants_date = None;
    for (service, integration) in services.tenants.iter_mut().zip(&config.integrations) {
        page.head("integration", Some(&integration.name), &integration.tenant);
        remembered.tenant(config, integration).into_iter().for_each(|step| page.step(step));
        if scope.offline {
            remote::secret(service, &mut |step| page.step(step));
            let step = compare::start_by_local(integration, clock::local());
            step.into_iter().for_each(|step| page.step(step));
            continue;
        }
        let mut third = || sinks_date.map(|anchor| anchor.carried_to(clock::mono()));
        let samples = Remembered::samples(config, integration);
        let mut report = |step| page.step(step);
        let date = remote::tenant(service, integration, &samples, &mut third, &mut report);
        tenants_date = tenants_date.or(date.map(|date| Anchor { date, at: clock::mono() }));
    }
    page.head("coralogix", None, &config.coralogix.url);
    let mut third = || tenants_date.map(|anchor| anchor.carried_to(clock::mono()));
    match scope.offline {
        true => drop(remote::secret(&mut services.sink, &mut |step| page.step(step))),
        false => remote::team(&mut services.sink, &mut third, &mut |step| page.step(step)),
    }
}

/// The queue and the files that are replaced. Returns what the queue remembers.
fn places(config: &Config, page: &mut dyn Listener) -> Remembered {
    let is_in_use = crate::queue::real::is_in_use(&config.queue.dir) == Some(true);
    let others = owner::of_unreadable(config.secret_files());
    let remedy = others.map(|(owner, file)| owner::ask_owner(file, &owner));
    page.step(Step::at_once(Name::Queue, local::queue(&config.queue, is_in_use, remedy)));
    let remembered = Remembered::of(config);
    left_behind::steps(config, remembered.is_new()).into_iter().for_each(|step| page.step(step));
    remembered.orphans(config).into_iter().for_each(|step| page.step(step));
    page.step(Step::at_once(Name::StatusFile, local::status_file(&config.status_file)));
    if let Some(file) = &config.metrics_file {
        page.step(Step::at_once(Name::MetricsFile, local::metrics_file(file)));
    }
    remembered
}

/// A setting that can be used, with a warning that a person should know.
fn doubtful(finding: &Finding) -> Step {
    let (what, remedy) = (finding.what(), finding.hint.clone().unwrap_or_default());
    let fault = Fault { code: finding.code, ..Fault::new(Cause::ConfigDoubtful, what, remedy) };
    Step::at_once(Name::Config, Outcome::Noted(fault))
}
