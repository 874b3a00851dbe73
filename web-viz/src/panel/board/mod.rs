//! The key figures, large enough to be read from the last row.

use raft_core::types::{NodeId, Term};
use yew::prelude::*;

use super::parts::{Icon, glyph, term_class};
use crate::domain::failover::{Failover, Loss};
use crate::model::Model;
use crate::num;

/// The figures in large type beside the ring.
#[derive(Clone, Debug, PartialEq)]
struct Figures {
    leader: Option<NodeId>,
    term: Term,
    /// The running servers, all voters, and the size of a majority.
    running: (usize, usize, usize),
    /// The lost leader, the time without a leader in µs, and how the leader was lost.
    vacancy: Option<(NodeId, u64, Loss)>,
    failover: Option<Failover>,
    /// The time from the fault to the first write after it, in milliseconds, if it was measured.
    first_write: Option<f64>,
}

/// Shows the figures.
/// The panel, from the model.
pub(crate) fn panel(model: &Model) -> Html {
    let (cluster, now) = (&model.cluster, model.playback.now);
    let vacancy = model.leaders.vacancy();
    board(&Figures {
        leader: cluster.leader(),
        term: cluster.view.term(),
        running: (cluster.running(), cluster.voters().len(), cluster.majority()),
        vacancy: vacancy.map(|(leader, at, how)| (leader, now.since(at), how)),
        failover: model.leaders.last,
        first_write: model.first_write(),
    })
}

fn board(figures: &Figures) -> Html {
    let leader = match figures.leader {
        Some(leader) => html! { <>{ glyph(Icon::Crown) }{ leader.to_string() }</> },
        None => html! { <span class="none">{ "none" }</span> },
    };
    let failover = match (figures.vacancy, figures.failover) {
        (Some((lost, span, how)), _) => {
            Some(("Without a leader", num::span(span), format!("{lost} {}", lost_words(how)), true))
        }
        (None, Some(done)) => {
            Some(("Failover", num::span(done.took), format!("{} → {}", done.from, done.to), false))
        }
        (None, None) => None,
    };
    let (running, all, needed) = figures.running;
    html! {
        <dl class="board">
            <div>
                <dt>{ "Leader" }</dt>
                <dd data-testid="leader">{ leader }</dd>
            </div>
            <div class={term_class(figures.term)}>
                <dt>{ "Term" }</dt>
                <dd class="term" data-testid="term">{ figures.term.0 }</dd>
            </div>
            <div class={classes!((running < needed).then_some("vacant"))}>
                <dt>{ "Running" }</dt>
                <dd data-testid="running">{ running }<small>{ format!("of {all}") }</small></dd>
            </div>
            if let Some((title, figure, detail, running)) = failover {
                <div class={classes!(running.then_some("vacant"))}>
                    <dt>{ title }</dt>
                    <dd data-testid="failover" data-running={running.to_string()}>
                        { figure }
                        <small>
                            { detail }
                            if let Some(after) = figures.first_write.filter(|_| !running) {
                                { first_write(after) }
                            }
                        </small>
                    </dd>
                </div>
            }
        </dl>
    }
}

/// The time from the fault to the first acknowledged write after it.
fn first_write(after_ms: f64) -> Html {
    html! {
        <span
            title="From the fault to the first acknowledged write after it"
            data-testid="first-write"
        >
            { ", first write " }{ num::span(num::whole(after_ms * 1000.0)) }
        </span>
    }
}

const fn lost_words(how: Loss) -> &'static str {
    match how {
        Loss::Crashed => "crashed",
        Loss::Frozen => "is frozen",
        Loss::CutOff => "is cut off",
        Loss::SteppedDown => "stepped down",
        Loss::OutOfSight => "is unreachable",
    }
}
