//! The panels that are read. Each is made anew when there is something new to read; while very much
//! happens, one a frame, so that no frame waits for all of them.

use yew::Html;

/// A panel that is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Panel {
    Matrix,
    Store,
    Events,
    Tape,
}

impl Panel {
    const ALL: [Self; 4] = [Self::Matrix, Self::Store, Self::Events, Self::Tape];
}

/// See the module.
#[derive(Default)]
pub(super) struct Texts {
    /// Each with the number of the reading that it is of.
    panels: [(u64, Html); Panel::ALL.len()],
}

impl Texts {
    /// Lets the panels follow the reading of this number, in turns where it is `crowded`.
    pub(super) fn follow(&mut self, number: u64, crowded: bool, draw: impl Fn(Panel) -> Html) {
        let mut stale: Vec<Panel> = Panel::ALL.to_vec();
        stale.retain(|panel| self.panels[*panel as usize].0 != number);
        // Those that wait for longest come first.
        stale.sort_by_key(|panel| self.panels[*panel as usize].0);
        let turns = if crowded { 1 } else { stale.len() };
        for panel in stale.into_iter().take(turns) {
            self.panels[panel as usize] = (number, draw(panel));
        }
    }

    pub(super) fn panel(&self, panel: Panel) -> Html {
        self.panels[panel as usize].1.clone()
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    /// Guards the frames under a flood: panels take turns and none is left out, however rare the frames
    /// are; when it is over, or somebody acts, all follow at once.
    #[test]
    fn in_a_crowd_panels_take_turns() {
        let mut texts = Texts::default();
        let mut drawn = |number, crowded| {
            let drawn = RefCell::new(Vec::new());
            texts.follow(number, crowded, |panel| {
                drawn.borrow_mut().push(panel);
                Html::default()
            });
            drawn.into_inner()
        };
        assert_eq!(drawn(1, false), Panel::ALL);
        assert_eq!(drawn(1, false), []);
        let turns: Vec<Panel> = (2..6).flat_map(|number| drawn(number, true)).collect();
        assert_eq!(turns, Panel::ALL);
        assert_eq!(drawn(5, true), [Panel::Matrix]);
        assert_eq!(drawn(6, false).len(), Panel::ALL.len());
    }
}
