//! The config as commands need it: loaded with its warnings told, and loaded again.

use std::path::Path;

use crate::cli::Exit;
use crate::config::{Config, Finding};
use crate::edge::{config_file, logging};

use log::Level;

use super::{Failure, complain};

/// Loads the config. Warnings go to stderr, for there is no log yet.
pub fn load(file: &Path) -> Result<Config, Failure> {
    match config_file::load(file) {
        Ok((config, warnings)) => {
            for warning in warnings {
                complain(Level::Warn, &warning.to_string());
            }
            Ok(config)
        }
        Err(why) => Err(Failure::new(Exit::Config, why)),
    }
}

/// Begins to log. A level that does not exist is told, and is no reason not to collect.
pub fn start_log(config: &Config) {
    let level = logging::level(config.log_level);
    logging::init(*level.as_ref().unwrap_or(&config.log_level), logging::Style::detect());
    if let Err(why) = level {
        log::warn!("{why}");
    }
}

/// Takes over what a changed config says of the log.
pub fn restart_log(config: &Config) {
    // The environment was good at the start and can't have changed.
    if let Ok(level) = logging::level(config.log_level) {
        logging::set_level(level);
    }
}

/// After SIGHUP: the new config if it is good and different. A bad one is told and the old one
/// stays.
pub fn reload(file: &Path, current: &Config) -> Option<Config> {
    let (new, warnings) = match config_file::load(file) {
        Ok(loaded) => loaded,
        Err(why) => {
            log::error!("The new config is wrong, the old one stays:");
            why.to_string().lines().for_each(|line| log::error!("{line}"));
            return None;
        }
    };
    tell(&warnings);
    if new.queue.dir != current.queue.dir {
        log::error!(
            "The new config moves queue.dir, the old config stays: a running queue can't move. \
             Stop the service, move {} to {}, and start it",
            current.queue.dir.display(),
            new.queue.dir.display()
        );
        return None;
    }
    if new == *current {
        log::info!("The config was read again; nothing in it has changed");
        return None;
    }
    Some(new)
}

fn tell(warnings: &[Finding]) {
    for warning in warnings {
        warning.to_string().lines().for_each(|line| log::warn!("{line}"));
    }
}
