//! Queues between threads and between processes that are killed, stopped, flooded and lied to.

mod behaviour;
mod crash;
mod hostile;
mod support;
