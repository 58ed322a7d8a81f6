//! Carries every SentinelOne threat and activity to Coralogix from a box nobody looks at.
#![forbid(unsafe_code)]

pub mod limits;
pub mod prng;
pub mod record;
pub mod secret;
pub mod time;

pub mod answer;
pub mod config;
pub mod coralogix;
pub mod frame;
pub mod pack;
pub mod s1;

pub mod core;

pub mod edge;
pub mod queue;

pub mod work;

pub mod report;

pub mod cli;
pub mod command;
