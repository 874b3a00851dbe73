//! The menu of actions on a server, shown beside it.

use raft_core::types::NodeId;
use wasm_bindgen::JsCast as _;
use web_sys::{Element, HtmlElement, SvgElement};
use yew::prelude::*;

use crate::dispatch::Dispatch;
use crate::domain::actions::{ClusterAction, DiskAction, MemberAction};
use crate::model::{Action, Model, UiAction};
use crate::num::{len, px};
use crate::panel::act::faults::Offer;
use crate::panel::parts::{Icon, glyph};
use crate::scene::layout::{Layout, Point};

/// The size of the menu in pixels; style.css repeats it.
const WIDTH: f64 = 268.0;
const ITEM: f64 = 42.0;
const HEAD: f64 = 54.0;
const LINE: f64 = 17.0;

/// An open menu.
#[derive(Clone, PartialEq)]
pub(crate) struct MenuMark {
    node: NodeId,
    /// The server's right edge on the stage.
    at: Point,
    items: Vec<Item>,
    /// Whether the server is chosen together with others.
    among: bool,
}

#[derive(Clone, PartialEq)]
struct Item {
    label: &'static str,
    icon: Icon,
    key: Option<&'static str>,
    offer: Offer,
}

/// The menu of a server.
pub(crate) fn menu_of(model: &Model, node: NodeId) -> MenuMark {
    let layout = Layout::of(model.ui.stage, &model.cluster.roster);
    let at = layout.spot(node).map_or(layout.centre, |spot| spot.at);
    let at = Point { x: at.x + layout.rim(), y: at.y };
    let item = |label, icon, key, action| {
        let offer = (action, model.permits(action));
        Item { label, icon, key, offer }
    };
    // Each of these items offers one of two opposite actions.
    let either = |action, is_second: bool, labels: [&'static str; 2], icons: [Icon; 2], key| {
        let place = usize::from(is_second);
        item(labels[place], icons[place], key, action)
    };
    let crash = model.toggle_crash(node);
    let restarts = matches!(crash, ClusterAction::Restart(_));
    let crash = either(crash, restarts, ["Crash", "Restart"], [Icon::Bolt, Icon::Power], Some("X"));
    let freeze = model.toggle_freeze(node);
    let thaws = matches!(freeze, ClusterAction::Thaw(_));
    let freeze = either(freeze, thaws, ["Freeze", "Resume"], [Icon::Snow; 2], Some("F"));
    let isolate = model.toggle_isolate(node);
    let mends = isolate == ClusterAction::Heal;
    let icons = [Icon::Scissors, Icon::Link];
    let isolate = either(isolate, mends, ["Cut off", "Mend the links"], icons, Some("P"));
    let stall = model.toggle_stall(node);
    let mends = matches!(stall, ClusterAction::Disk(_, DiskAction::Mend));
    let labels = ["Stall its disk", "Mend its disk"];
    let stall = either(stall, mends, labels, [Icon::Disk; 2], None);
    let slow = model.toggle_slow_disk(node);
    let mends = matches!(slow, ClusterAction::Disk(_, DiskAction::Quicken));
    let labels = ["Slow its disk", "Its disk at full speed"];
    let slow = either(slow, mends, labels, [Icon::Disk; 2], None);
    let elect = item("Elect now", Icon::Flag, None, ClusterAction::Elect(node));
    let lead =
        item("Let it lead", Icon::Crown, None, ClusterAction::Member(MemberAction::Transfer(node)));
    let snapshot = item(
        "Take a snapshot",
        Icon::Disk,
        None,
        ClusterAction::Member(MemberAction::Snapshot(node)),
    );
    let items = vec![crash, freeze, isolate, elect, lead, stall, slow, snapshot];
    MenuMark { node, at, items, among: model.ui.selection.servers().len() > 1 }
}

/// Properties of [`Menu`].
#[derive(PartialEq, Properties)]
pub(super) struct MenuProps {
    pub(super) menu: MenuMark,
    pub(super) stage: NodeRef,
    pub(super) dispatch: Dispatch,
}

/// The open menu.
#[component]
pub(super) fn Menu(props: &MenuProps) -> Html {
    let MenuMark { node, at, items, among } = &props.menu;
    let node = *node;
    let list = use_node_ref();
    use_effect_with((list.clone(), node), |(list, _)| {
        go_to(list, |_, _| Some(0));
    });
    let close = {
        let dispatch = props.dispatch.clone();
        Callback::from(move |()| {
            dispatch.emit(Action::Ui(UiAction::Menu(None)));
            focus_server(node);
        })
    };
    let onkeydown = {
        let (close, list) = (close.clone(), list.clone());
        Callback::from(move |event: KeyboardEvent| {
            match event.key().as_str() {
                "Escape" | "Tab" => close.emit(()),
                "ArrowDown" => go_to(&list, |place, count| Some((place? + 1) % count)),
                "ArrowUp" => go_to(&list, |place, count| Some((place? + count - 1) % count)),
                "Home" => go_to(&list, |_, _| Some(0)),
                "End" => go_to(&list, |_, count| count.checked_sub(1)),
                _ => return,
            }
            event.prevent_default();
            event.stop_propagation();
        })
    };
    // The finger that opened the menu is lifted above it. Only a press that starts in the menu
    // chooses.
    let armed = use_mut_ref(|| false);
    let onpointerdown = {
        let armed = armed.clone();
        Callback::from(move |_: PointerEvent| *armed.borrow_mut() = true)
    };
    let choose = {
        let (dispatch, close) = (props.dispatch.clone(), close.clone());
        Callback::from(move |(event, action): (MouseEvent, Action)| {
            if event.detail() == 0 || *armed.borrow() {
                close.emit(());
                dispatch.emit(action);
            }
        })
    };
    let outside = close.reform(|event: PointerEvent| event.prevent_default());
    let also = choose.reform(move |event| (event, Action::Ui(UiAction::SelectAlso(node))));
    html! {
        <>
            <div class="menu-ground" onpointerdown={outside} />
            <div
                class="menu"
                role="menu"
                aria-label={format!("Actions on {node}")}
                ref={list}
                style={place(*at, height(items) + if *among { ITEM } else { 0.0 }, &props.stage)}
                data-testid="menu"
                {onkeydown}
                {onpointerdown}
            >
                <p aria-hidden="true">{ node.to_string() }</p>
                { for items.iter().map(|item| draw(item, &choose)) }
                if *among {
                    <button type="button" role="menuitem" tabindex="-1" onclick={also}>
                        { glyph(Icon::Cross) }
                        <span>{ "Remove from the selection" }</span>
                    </button>
                }
            </div>
        </>
    }
}

fn draw(item: &Item, choose: &Callback<(MouseEvent, Action)>) -> Html {
    let (action, permitted) = item.offer.clone();
    let onclick = choose.reform(move |event| (event, Action::Cluster(action)));
    let why_not = permitted.err();
    html! {
        <button
            type="button"
            role="menuitem"
            tabindex="-1"
            aria-disabled={why_not.is_some().then_some("true")}
            data-testid={format!("menu-{}", item.label.to_lowercase().replace(' ', "-"))}
            {onclick}
        >
            { glyph(item.icon) }
            <span>
                { item.label }
                if let Some(why) = why_not {
                    <small>{ why }</small>
                }
            </span>
            if let Some(key) = item.key {
                <kbd aria-hidden="true">{ key }</kbd>
            }
        </button>
    }
}

/// The maximum height of a menu. Reasons take extra lines.
fn height(items: &[Item]) -> f64 {
    let reasons = items.iter().filter_map(|item| item.offer.1.as_ref().err());
    let lines = reasons.map(|why| why.len() / 30 + 1).sum();
    HEAD + len(items.len()) * ITEM + len(lines) * LINE
}

/// Places the menu beside its server, entirely on the screen.
fn place(at: Point, height: f64, stage: &NodeRef) -> String {
    let Some(stage) = stage.cast::<Element>() else { return String::new() };
    let bounds = stage.get_bounding_client_rect();
    let (x, y) = (bounds.left() + at.x, bounds.top() + at.y - height / 2.0);
    format!(
        "left:clamp(8px,{}px,100vw - {}px);top:clamp(8px,{}px,100dvh - {}px)",
        px(x),
        px(WIDTH + 8.0),
        px(y),
        px(height + 8.0)
    )
}

/// Moves the focus to another item. `to` gets the position of the focused item and the number of
/// items.
fn go_to(list: &NodeRef, to: impl Fn(Option<usize>, usize) -> Option<usize>) {
    let Some(list) = list.cast::<Element>() else { return };
    let Ok(found) = list.query_selector_all("[role=menuitem]") else { return };
    let items: Vec<HtmlElement> =
        (0..found.length()).filter_map(|place| found.get(place)?.dyn_into().ok()).collect();
    let focused = gloo_utils::document().active_element();
    let place = items.iter().position(|item| Some(item.as_ref()) == focused.as_ref());
    if let Some(item) = to(place, items.len()).and_then(|place| items.get(place)) {
        let _ = item.focus();
    }
}

fn focus_server(node: NodeId) {
    let found = gloo_utils::document().query_selector(&format!("[data-testid=server-{node}]"));
    if let Some(server) = found.ok().flatten().and_then(|it| it.dyn_into::<SvgElement>().ok()) {
        let _ = server.focus();
    }
}
