//! The servers behave as their checklists say: proven through a raw client, without the collector.
//!
//! Promises: a test of the collector that fails is not the servers' fault.

mod ingress;
mod lies;
mod network;
mod tenant;
