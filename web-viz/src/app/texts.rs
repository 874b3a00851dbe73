//! Caches the text panels. A panel is rendered again when its content changes. While very many
//! events happen, only one panel per frame is rendered, to keep frames short.

use yew::Html;

/// A text panel.
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

/// The cached text panels.
#[derive(Default)]
pub(super) struct Texts {
    /// Each with the number of the reading that it shows.
    panels: [(u64, Html); Panel::ALL.len()],
}

impl Texts {
    /// Renders the panels whose reading is outdated; only one of them if `crowded`.
    pub(super) fn follow(&mut self, number: u64, crowded: bool, draw: impl Fn(Panel) -> Html) {
        let mut stale: Vec<Panel> = Panel::ALL.to_vec();
        stale.retain(|panel| self.panels[*panel as usize].0 != number);
        // The panels that have waited longest come first.
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

    /// Guards that panels take turns during a flood of events and that no panel is left out,
    /// however rare the frames are. When the flood is over, or the user acts, all panels follow at
    /// once.
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
