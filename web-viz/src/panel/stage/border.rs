//! The line of a partition.

use yew::prelude::*;

use crate::num::px;
use crate::scene::border::Border;
use crate::scene::layout::Point;

/// Draws the lines of a partition.
pub(super) fn border(border: &Border) -> Html {
    html! {
        <g class="border" data-testid="border">
            <title>{ &border.words }</title>
            { for border.lines.iter().map(|line| html! { <path d={path(line)} /> }) }
        </g>
    }
}

fn path(line: &[Point]) -> String {
    let points = line.iter().map(|at| format!("{} {}", px(at.x), px(at.y)));
    format!("M{}", points.collect::<Vec<_>>().join("L"))
}
