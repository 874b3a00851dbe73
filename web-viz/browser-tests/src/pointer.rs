//! A mouse or a finger on the page, and keys that are held down meanwhile.

use serde_json::{Value, json};

use crate::Page;
use crate::page::Vendor;

/// A step of a pointer.
#[derive(Clone, Copy, Debug)]
pub enum Touch {
    /// Presses at the current position.
    Down,
    /// Releases.
    Up,
    /// Moves to a position in the window within this time, in milliseconds.
    To((f64, f64), u32),
    /// Waits for this time, in milliseconds.
    Rest(u32),
}

/// The pointing device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pointer {
    /// A mouse.
    Mouse,
    /// A finger.
    Finger,
}

impl Page {
    /// Performs the steps. A pointer that is not released stays pressed until the next call.
    pub async fn point(&self, pointer: Pointer, touches: &[Touch]) {
        let step = |touch: &Touch| match *touch {
            Touch::Down => json!({ "type": "pointerDown", "button": 0 }),
            Touch::Up => json!({ "type": "pointerUp", "button": 0 }),
            Touch::Rest(duration) => json!({ "type": "pause", "duration": duration }),
            Touch::To((x, y), duration) => json!({
                "type": "pointerMove", "duration": duration, "origin": "viewport",
                "x": x.round(), "y": y.round(),
            }),
        };
        let kind = match pointer {
            Pointer::Mouse => "mouse",
            Pointer::Finger => "touch",
        };
        let steps: Vec<Value> = touches.iter().map(step).collect();
        self.act(json!({
            "type": "pointer", "id": kind, "parameters": { "pointerType": kind },
            "actions": steps,
        }))
        .await;
    }

    /// Presses a key and holds it, or releases it.
    pub async fn hold_key(&self, key: &str, down: bool) {
        let kind = if down { "keyDown" } else { "keyUp" };
        let actions = json!([{ "type": kind, "value": key }]);
        self.act(json!({ "type": "key", "id": "keys", "actions": actions })).await;
    }

    /// Sends a key to the focused element, with or without Shift.
    pub async fn strike(&self, key: &str, shift: bool) {
        let shift_key = "\u{e008}";
        let mut actions = vec![
            json!({ "type": "keyDown", "value": key }),
            json!({ "type": "keyUp", "value": key }),
        ];
        if shift {
            actions.insert(0, json!({ "type": "keyDown", "value": shift_key }));
            actions.push(json!({ "type": "keyUp", "value": shift_key }));
        }
        self.act(json!({ "type": "key", "id": "keys", "actions": actions })).await;
    }

    /// The middle of the first matching element, in window coordinates.
    pub async fn middle(&self, selector: &str) -> (f64, f64) {
        let middle = self
            .ask(&format!(
                "(box => [box.left + box.width / 2, box.top + box.height / 2]) \
                 (document.querySelector(\"{selector}\").getBoundingClientRect())"
            ))
            .await;
        let part = |place: usize| middle[place].as_f64().expect("a place in the window");
        (part(0), part(1))
    }

    async fn act(&self, source: Value) {
        let command = Vendor { path: "actions", body: json!({ "actions": [source] }) };
        self.issue(command).await.expect("the browser points and strikes");
    }
}
