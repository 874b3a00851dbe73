//! Messages between servers: WebSocket connections that carry batches in the core's binary form.

pub mod frame;
pub mod handshake;
pub mod outbox;
