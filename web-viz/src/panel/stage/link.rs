//! A link: a hairline. A cut link has a gap with a bar across.

use yew::prelude::*;

use crate::num::px;
use crate::scene::layout::Point;
use crate::scene::links::{LinkMark, LinkState};

/// Draws a link.
pub(super) fn link(mark: &LinkMark) -> Html {
    let LinkMark { ends, from, to, state, doomed, barred } = *mark;
    let class = match state {
        LinkState::Up => "link",
        LinkState::Cut => "link cut",
        LinkState::OneWay { .. } => "link one-way",
    };
    let words = match state {
        LinkState::Up => None,
        LinkState::Cut => Some(format!("The link between {} and {} is cut", ends.0, ends.1)),
        LinkState::OneWay { forward: true } => {
            Some(format!("Messages pass from {} to {} only", ends.0, ends.1))
        }
        LinkState::OneWay { forward: false } => {
            Some(format!("Messages pass from {} to {} only", ends.1, ends.0))
        }
    };
    let at = match state {
        LinkState::Up | LinkState::Cut => 0.5,
        // The bar is nearer to the server whose messages are lost.
        LinkState::OneWay { forward: true } => 0.65,
        LinkState::OneWay { forward: false } => 0.35,
    };
    html! {
        <g
            key={format!("{}{}", ends.0, ends.1)}
            class={classes!(class, doomed.then_some("doomed"))}
            data-testid={format!("link-{}-{}", ends.0, ends.1)}
            data-state={name(state)}
        >
            if let Some(words) = words {
                <title>{ words }</title>
            }
            { line("wire", from, to) }
            if doomed {
                { line("doom", from, to) }
            }
            if state != LinkState::Up && barred {
                { wall(from, to, at) }
            }
        </g>
    }
}

const fn name(state: LinkState) -> &'static str {
    match state {
        LinkState::Up => "up",
        LinkState::Cut => "cut",
        LinkState::OneWay { .. } => "one-way",
    }
}

fn line(class: &'static str, from: Point, to: Point) -> Html {
    html! { <line {class} x1={px(from.x)} y1={px(from.y)} x2={px(to.x)} y2={px(to.y)} /> }
}

/// A bar across the link, where messages stop.
fn wall(from: Point, to: Point, share: f64) -> Html {
    let middle = from.towards(to, share);
    let across = from.bearing(to) + std::f64::consts::FRAC_PI_2;
    html! {
        <>
            { line("gap", middle.at(from.bearing(to), -9.0), middle.at(from.bearing(to), 9.0)) }
            { line("wall", middle.at(across, -17.0), middle.at(across, 17.0)) }
        </>
    }
}
