//! What the keys do. Each has a button too.

use raft_core::types::{NodeId, Time};

use crate::model::history::Jump;
use crate::model::lanes::LanesAction;
use crate::model::{Action, LessonAction, List, Model, UiAction};

/// One line of the help.
pub(crate) struct Key {
    pub(crate) keys: &'static [&'static str],
    pub(crate) does: &'static str,
}

/// All keys, as the help shows them.
pub(crate) const KEYS: [Key; 18] = [
    Key { keys: &["Space"], does: "play, pause" },
    Key { keys: &["→", "←"], does: "let the next thing happen; back to before the last one" },
    Key {
        keys: &[".", ","],
        does: "the next, the previous turn on the tape: election, crash, write …",
    },
    Key {
        keys: &["Home", "End"],
        does: "to the beginning; as far as it has been run, for a live cluster the present",
    },
    Key { keys: &["Z"], does: "undo the last thing you did, in a branch of its own" },
    Key { keys: &["B"], does: "the next branch" },
    Key { keys: &["="], does: "two branches side by side" },
    Key { keys: &["[", "]"], does: "slower, faster" },
    Key { keys: &["1", "…", "9"], does: "select a server; again to let go" },
    Key { keys: &["X"], does: "crash or restart the selected server, else the leader" },
    Key { keys: &["F"], does: "freeze it, or let it go on" },
    Key { keys: &["P"], does: "cut it off from the others, or mend the links" },
    Key { keys: &["D"], does: "messages in time, as arrows between lanes; again to close" },
    Key { keys: &["L"], does: "the list of lessons" },
    Key { keys: &["⇧ →", "⇧ ←"], does: "next and previous page of the lesson" },
    Key { keys: &["C"], does: "send the client's request" },
    Key { keys: &["S"], does: "share the run as a link, save and open traces and pictures" },
    Key { keys: &["?"], does: "this help; Esc closes it" },
];

/// What a key asks for. `key` is as the browser names it.
pub(crate) fn action(key: &str, model: &Model) -> Option<Action> {
    let server = || model.ui.selected.or_else(|| model.present().leader());
    match key {
        " " => Some(Action::TogglePlay),
        "ArrowRight" => Some(Action::Step),
        "ArrowLeft" => Some(Action::Jump(Jump::Back)),
        "Home" => Some(Action::Jump(Jump::Time(Time(0)))),
        "End" => Some(Action::Jump(Jump::End)),
        "z" | "Z" => Some(Action::Jump(Jump::Undo)),
        "," => model.turn_before().map(Action::Jump),
        "." => model.turn_after().map(Action::Jump),
        "=" => Some(Action::Compare(None)),
        "b" | "B" => model.next_branch().map(Action::Jump),
        "[" => Some(Action::Speed(model.playback.speed.slower())),
        "]" => Some(Action::Speed(model.playback.speed.faster())),
        "x" | "X" => server().map(|node| Action::Deed(model.toggle_crash(node))),
        "f" | "F" => server().map(|node| Action::Deed(model.toggle_freeze(node))),
        "p" | "P" => server().map(|node| Action::Deed(model.toggle_isolate(node))),
        "d" | "D" => Some(Action::Ui(UiAction::Lanes(LanesAction::Toggle))),
        "l" | "L" => Some(Action::Ui(UiAction::List(Some(List::Lessons)))),
        "Shift+ArrowRight" => Some(Action::Lesson(LessonAction::Next)),
        "Shift+ArrowLeft" => Some(Action::Lesson(LessonAction::Back)),
        "c" | "C" => Some(Action::Submit),
        "?" => Some(Action::Ui(UiAction::Help(!model.ui.help))),
        "s" | "S" => Some(Action::Ui(UiAction::Share(true))),
        "Escape" if model.ui.help => Some(Action::Ui(UiAction::Help(false))),
        "Escape" if model.ui.why.is_some() => Some(Action::Ui(UiAction::Inspect(None))),
        "Escape" => Some(Action::Ui(UiAction::Select(None))),
        _ => {
            let node =
                key.parse().ok().map(NodeId).filter(|node| model.known.roster.contains(node));
            node.map(|node| {
                let again = model.ui.selected == Some(node);
                Action::Ui(UiAction::Select((!again).then_some(node)))
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::address::Place;
    use crate::model::deeds::Deed;
    use crate::session::Session;
    use crate::source::sim::SimSetup;

    /// Guards use without a mouse.
    #[test]
    fn keys_choose_a_server_and_act_on_it() {
        let mut session = Session::default();
        session.dispatch(Action::Open(Place::Simulate(SimSetup::default())));
        assert!(action("x", &session.model).is_none(), "nobody leads and nobody is selected");
        session.dispatch(action("2", &session.model).unwrap());
        assert_eq!(session.model.ui.selected, Some(NodeId(2)));
        assert!(matches!(action("x", &session.model), Some(Action::Deed(Deed::Crash(NodeId(2))))));
        session.dispatch(action("x", &session.model).unwrap());
        assert!(matches!(
            action("X", &session.model),
            Some(Action::Deed(Deed::Restart(NodeId(2))))
        ));
        session.dispatch(action("2", &session.model).unwrap());
        assert_eq!(session.model.ui.selected, None);
        assert!(action("9", &session.model).is_none(), "there is no S9");
        assert!(action("q", &session.model).is_none());
    }
}
