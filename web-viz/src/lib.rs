//! The page. It shows a Raft cluster, simulated in the page itself or running elsewhere, and
//! draws both from the same events.
//!
//! ```text
//! browser, keys, clock ──Action──> model::Model ──Effect──> source (Sim, Live), browser
//!                                       ^                          │
//!                                       └────────── events ────────┘
//! panel (components) <── scene (geometry) <── Model
//! ```
//! `model` and `scene` are pure and tested natively; a `panel` only turns them into elements; what
//! touches the browser lives in `app` and `source::live`.

mod address;
mod app;
mod dispatch;
mod domain;
mod keys;
mod link;
mod model;
mod num;
mod panel;
mod scene;
mod session;
mod shared;
mod source;

/// Renders the page into the document's body.
pub fn run() {
    yew::Renderer::<app::App>::new().render();
}
