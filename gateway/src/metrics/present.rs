//! What has a present value, asked for when somebody looks.

use mayfly_scheduler::{Provision, Reservation, Status};
use prometheus_client::{
    metrics::{
        counter::{ConstCounter, Counter},
        family::Family,
        gauge::{ConstGauge, Gauge},
    },
    registry::{Registry, Unit},
};

use crate::lambda::name::LATEST;

/// Adds it all.
pub(super) fn register(registry: &mut Registry, status: &Status) {
    let mut gauge = |name, help, value: u64| registry.register(name, help, ConstGauge::new(value));
    gauge("ready", "1 if invocations can be served", u64::from(status.ready));
    gauge("functions", "Functions in the catalog", status.functions as u64);
    gauge("deploys", "Deploys going on or waiting", status.deploys as u64);
    gauge("shells", "Machines that wait for a function", status.shells_ready as u64);
    gauge("shells_target", "How many there shall be", status.shells_target as u64);
    gauge(
        "invocations_queued",
        "Invocations that wait for their turn or for a machine",
        status.invocations_queued as u64,
    );
    gauge("invocations_in_flight", "Invocations admitted and not answered", status.invocations_running as u64);
    gauge("turns", "Invocations whose turn it is to run", status.turns as u64);
    gauge("concurrency_limit", "Most invocations in flight", status.concurrency_limit.into());
    gauge("instances_limit", "Most machines with a function", status.instances_limit as u64);
    let help = "Most machines with the same function";
    gauge("instances_per_function_limit", help, status.instances_per_function_limit as u64);
    let help = "Most invocations of a function that wait";
    gauge("queue_per_function_limit", help, status.queue_per_function_limit as u64);
    let wait = ConstGauge::new(status.queue_wait_limit.as_secs_f64());
    registry.register_with_unit("queue_wait_limit", "Longest wait of an invocation", Unit::Seconds, wait);
    let reserve = ConstGauge::new(status.memory_reserve_bytes);
    registry.register_with_unit("memory_reserve", "Memory that idle machines must leave", Unit::Bytes, reserve);
    reservations(registry, &status.reservations);
    provisions(registry, &status.provisions);
    let help = "Processors that invocations may use at a time";
    registry.register("turns_limit", help, ConstGauge::new(status.turns_limit));
    let instances = Family::<[(&str, &str); 1], Gauge>::default();
    instances.get_or_create(&[("state", "idle")]).set(status.instances_idle as i64);
    instances.get_or_create(&[("state", "busy")]).set(status.instances_busy as i64);
    registry.register("instances", "Machines with a function", instances);
    let counter = |count: u64| ConstCounter::new(count);
    let help = "Machines ended because an invocation failed";
    registry.register("instances_failed", help, counter(status.instances_failed_total));
    registry.register("resets", "Machines whose memory was put back", counter(status.resets_total));
    if let Some(available) = status.memory_available_bytes {
        let help = "Memory that the host has for more machines";
        registry.register_with_unit("memory_available", help, Unit::Bytes, ConstGauge::new(available));
    }
}

/// Of functions with reserved concurrency alone: all others share one limit.
fn reservations(registry: &mut Registry, reservations: &[Reservation]) {
    let [limits, in_flight] = [(); 2].map(|()| Family::<[(&str, String); 2], Gauge>::default());
    for Reservation { function, limit, in_flight: now } in reservations {
        let labels = [("function", function.clone()), ("qualifier", LATEST.to_owned())];
        limits.get_or_create(&labels).set((*limit).into());
        in_flight.get_or_create(&labels).set((*now).into());
    }
    registry.register("reserved_concurrency_limit", "Most invocations of the function in flight", limits);
    registry.register("reserved_concurrency_in_flight", "Invocations of the function in flight", in_flight);
}

/// Of functions with provisioned concurrency alone.
fn provisions(registry: &mut Registry, provisions: &[Provision]) {
    let [requested, available, in_flight] = [(); 3].map(|()| Family::<[(&str, String); 2], Gauge>::default());
    let spilled = Family::<[(&str, String); 2], Counter>::default();
    for Provision { function, provisioned, in_flight: now, spilled_total } in provisions {
        let labels = [("function", function.clone()), ("qualifier", LATEST.to_owned())];
        requested.get_or_create(&labels).set(provisioned.requested.into());
        available.get_or_create(&labels).set(provisioned.available.into());
        in_flight.get_or_create(&labels).set((*now).into());
        spilled.get_or_create(&labels).inc_by(*spilled_total);
    }
    registry.register("provisioned_concurrency_requested", "Machines that shall be there for the function", requested);
    registry.register("provisioned_concurrency_available", "How many of them there are", available);
    registry.register("provisioned_concurrency_in_flight", "Invocations in flight that have one of them", in_flight);
    registry.register("provisioned_concurrency_spilled", "Invocations that came when all were in use", spilled);
}
