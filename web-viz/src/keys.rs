//! Keyboard shortcuts. Each shortcut has a button, too.

use raft_core::types::{NodeId, Time};

use crate::domain::actions::{ClusterAction, LATER, MessageAction};
use crate::domain::history::Jump;
use crate::domain::lanes::LanesAction;
use crate::domain::selection::Selection;
use crate::model::gesture::{Gesture, GestureAction};
use crate::model::{Action, LessonAction, List, Model, UiAction};

/// One line of the help.
pub(crate) struct Key {
    pub(crate) keys: &'static [&'static str],
    pub(crate) does: &'static str,
}

/// All shortcuts, in the order of the help.
pub(crate) const KEYS: &[Key] = &[
    Key { keys: &["Space"], does: "play, pause" },
    Key { keys: &["→", "←"], does: "step by event, forward and back" },
    Key { keys: &[".", ","], does: "next, previous turn on the tape: election, crash, write …" },
    Key {
        keys: &["Home", "End"],
        does: "the beginning; the end of the run so far, or the present of a live cluster",
    },
    Key { keys: &["Z"], does: "undo your last action, in a new branch" },
    Key { keys: &["B"], does: "next branch" },
    Key { keys: &["="], does: "two branches side by side" },
    Key { keys: &["[", "]"], does: "slower, faster" },
    Key { keys: &["1", "…", "9"], does: "choose a server; again to clear the selection" },
    Key { keys: &["⇧ 1", "…", "⇧ 9"], does: "choose several servers" },
    Key { keys: &["Menu"], does: "the menu of the chosen server" },
    Key { keys: &["X"], does: "crash or restart the chosen server, otherwise the leader" },
    Key { keys: &["F"], does: "freeze or resume it" },
    Key { keys: &["P"], does: "cut the chosen servers off from the others, or mend the links" },
    Key { keys: &["M", "⇧ M"], does: "choose the next, the previous message in transit" },
    Key { keys: &["Delete", "H"], does: "lose the chosen message; hold or release it" },
    Key { keys: &["W", "T"], does: "delay it by 50 ms; let it arrive twice" },
    Key { keys: &["D"], does: "messages in time, as arrows between lanes; again to close" },
    Key { keys: &["L"], does: "the list of lessons" },
    Key { keys: &["⇧ →", "⇧ ←"], does: "next and previous page of the lesson" },
    Key { keys: &["C"], does: "send the client's request" },
    Key { keys: &["S"], does: "share the run as a link, save and open traces, save pictures" },
    Key { keys: &["Esc"], does: "clear the selection; cancel a stroke or a drag" },
    Key { keys: &["?"], does: "this help; Esc closes it" },
];

/// The action of a key. `key` is the browser's name of the key.
pub(crate) fn action(key: &str, model: &Model) -> Option<Action> {
    let server = || model.ui.selection.server().or_else(|| model.present().leader());
    let message = |action| {
        model.ui.selection.message().map(|id| Action::Cluster(ClusterAction::Message(id, action)))
    };
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
        "x" | "X" => server().map(|node| Action::Cluster(model.toggle_crash(node))),
        "f" | "F" => server().map(|node| Action::Cluster(model.toggle_freeze(node))),
        "p" | "P" => {
            let servers = model.ui.selection.servers();
            if servers.len() > 1 {
                return Some(Action::Cluster(model.toggle_apart(&servers)));
            }
            server().map(|node| Action::Cluster(model.toggle_isolate(node)))
        }
        "m" | "M" => model.message_beside(true).map(|id| Action::Ui(UiAction::Reach(id))),
        "Shift+M" => model.message_beside(false).map(|id| Action::Ui(UiAction::Reach(id))),
        "Delete" => message(MessageAction::Drop),
        "h" | "H" => model.ui.selection.message().map(|id| Action::Cluster(model.toggle_hold(id))),
        "w" | "W" => message(MessageAction::Delay(LATER)),
        "t" | "T" => message(MessageAction::Duplicate),
        "ContextMenu" => server().map(|node| Action::Ui(UiAction::Menu(Some(node)))),
        "d" | "D" => Some(Action::Ui(UiAction::Lanes(LanesAction::Toggle))),
        "l" | "L" => Some(Action::Ui(UiAction::List(Some(List::Lessons)))),
        "Shift+ArrowRight" => Some(Action::Lesson(LessonAction::Next)),
        "Shift+ArrowLeft" => Some(Action::Lesson(LessonAction::Back)),
        "c" | "C" => Some(Action::Submit),
        "?" => Some(Action::Ui(UiAction::Help(!model.ui.help))),
        "s" | "S" => Some(Action::Ui(UiAction::Share(true))),
        "Escape" if model.ui.help => Some(Action::Ui(UiAction::Help(false))),
        "Escape" if model.ui.gesture != Gesture::Free => {
            Some(Action::Gesture(GestureAction::GiveUp))
        }
        "Escape" if model.ui.menu.is_some() => Some(Action::Ui(UiAction::Menu(None))),
        "Escape" => Some(Action::Ui(UiAction::Select(None))),
        _ => {
            let also = key.strip_prefix("Shift+");
            let node = also.unwrap_or(key).parse().ok().map(NodeId);
            node.filter(|node| model.cluster.roster.contains(node)).map(|node| {
                let again = model.ui.selection == Selection::Servers(vec![node]);
                Action::Ui(match also {
                    Some(_) => UiAction::SelectAlso(node),
                    None => UiAction::Select((!again).then_some(node)),
                })
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::address::Place;
    use crate::domain::run::SimSetup;
    use crate::session::Session;

    /// Guards that servers can be chosen and acted on without a mouse.
    #[test]
    fn keys_choose_a_server_and_act_on_it() {
        let mut session = Session::default();
        session.dispatch(Action::Open(Place::Simulate(SimSetup::default())));
        assert!(action("x", &session.model).is_none(), "nobody leads and nobody is selected");
        session.dispatch(action("2", &session.model).unwrap());
        assert_eq!(session.model.ui.selection.server(), Some(NodeId(2)));
        assert!(matches!(
            action("x", &session.model),
            Some(Action::Cluster(ClusterAction::Crash(NodeId(2))))
        ));
        session.dispatch(action("x", &session.model).unwrap());
        assert!(matches!(
            action("X", &session.model),
            Some(Action::Cluster(ClusterAction::Restart(NodeId(2))))
        ));
        session.dispatch(action("2", &session.model).unwrap());
        assert_eq!(session.model.ui.selection, Selection::Nothing);
        assert!(action("9", &session.model).is_none(), "there is no S9");
        assert!(action("q", &session.model).is_none());
    }

    /// Guards that several servers can be partitioned without a mouse. The key cuts the chosen
    /// servers off from the rest, and the same key heals the links.
    #[test]
    fn servers_chosen_together_are_cut_off_together() {
        let mut session = Session::default();
        let setup = SimSetup { servers: 5, ..SimSetup::default() };
        session.dispatch(Action::Open(Place::Simulate(setup)));
        for key in ["1", "Shift+2", "p"] {
            session.dispatch(action(key, &session.model).unwrap());
        }
        assert_eq!(session.model.cluster.view.cut_links.len(), 12);
        assert!(session.model.cluster.linked(NodeId(1), NodeId(2)));
        session.dispatch(action("p", &session.model).unwrap());
        assert!(session.model.cluster.view.cut_links.is_empty());
        for key in ["Shift+3", "Shift+4", "Shift+5", "p"] {
            session.dispatch(action(key, &session.model).unwrap());
        }
        assert!(session.model.notice.unwrap().words.contains("no server left"));
    }

    /// Guards that messages can be chosen and acted on without a mouse.
    #[test]
    fn keys_choose_a_message_and_act_on_it() {
        let mut session = Session::default();
        session.dispatch(Action::Open(Place::Simulate(SimSetup::default())));
        assert!(action("m", &session.model).is_none() && action("h", &session.model).is_none());
        while session.model.message_beside(true).is_none() {
            session.dispatch(Action::Frame { elapsed: 16.0, wall: 0 });
        }
        session.dispatch(Action::TogglePlay);
        let focus = session.dispatch(action("m", &session.model).unwrap());
        let message = session.model.ui.selection.message().unwrap();
        assert!(matches!(focus[..], [crate::model::Effect::Focus(id)] if id == message));
        let flight = |session: &Session| session.model.cluster.view.messages[&message].clone();
        let due = flight(&session).due.unwrap();
        session.dispatch(action("w", &session.model).unwrap());
        assert_eq!(flight(&session).due, Some(due.after(LATER)));
        session.dispatch(action("h", &session.model).unwrap());
        assert!(flight(&session).held);
        session.dispatch(action("m", &session.model).unwrap());
        session.dispatch(action("Shift+M", &session.model).unwrap());
        assert_eq!(session.model.ui.selection, Selection::Message(message));
        session.dispatch(action("h", &session.model).unwrap());
        assert!(!flight(&session).held);
        assert!(flight(&session).end.is_some(), "it arrives at once, though the clock stands");
        session.dispatch(Action::Ui(UiAction::Pick(message)));
        assert!(action("Delete", &session.model).is_none());
    }
}
