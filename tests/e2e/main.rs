//! The main job, told end to end on real traffic.

mod admin;
mod dialling;
mod encodings;
mod evidence;
mod fail_closed;
mod faults;
mod host_table;
mod hostile;
mod interception;
mod kill_switch;
mod mishaps;
mod positions;
mod refusals;
mod registered;
mod reloading;
mod resolving;
mod restoring;
mod round_trip;
mod sessions;
mod smuggling;
mod streams;
mod thinking;
mod uploads;
mod upstream_proxy;
mod websocket;
