//! The function that Node calls.

use wasm_bindgen::prelude::wasm_bindgen;

/// Measures the simulator and returns its figures as JSON.
#[wasm_bindgen]
#[must_use]
pub fn simulator(rounds: u32) -> String {
    let speed = crate::simulator::measure(rounds, || js_sys::Date::now() / 1000.0);
    serde_json::to_string(&speed).expect("figures have a JSON form")
}
