//! Markdown as elements: what lessons are written in.

use pulldown_cmark::{Event, Parser, Tag, TagEnd};
use yew::prelude::*;
use yew::virtual_dom::{VList, VTag};

/// See the module.
pub(super) fn prose(text: &str) -> Html {
    // What is open, outermost first: its element's name, and what is in it so far.
    let mut open: Vec<(&'static str, VList)> = vec![("div", VList::new())];
    for event in Parser::new(text) {
        match event {
            Event::Start(tag) => open.push((element(&tag), VList::new())),
            Event::End(end) => close(&mut open, end),
            Event::Text(text) => add(&mut open, html! { { text.to_string() } }),
            Event::Code(code) => add(&mut open, html! { <code>{ code.to_string() }</code> }),
            Event::SoftBreak | Event::HardBreak => add(&mut open, html! { { " " } }),
            Event::InlineMath(_)
            | Event::DisplayMath(_)
            | Event::Html(_)
            | Event::InlineHtml(_)
            | Event::FootnoteReference(_)
            | Event::Rule
            | Event::TaskListMarker(_) => {}
        }
    }
    let (_, children) = open.swap_remove(0);
    html! { <div class="prose">{ children }</div> }
}

fn add(open: &mut [(&'static str, VList)], child: Html) {
    if let Some((_, children)) = open.last_mut() {
        children.add_child(child);
    }
}

fn close(open: &mut Vec<(&'static str, VList)>, _: TagEnd) {
    if let Some((name, children)) = open.pop() {
        let mut tag = VTag::new(name);
        tag.add_children(std::iter::once(Html::VList(std::rc::Rc::new(children))));
        add(open, tag.into());
    }
}

#[expect(clippy::wildcard_enum_match_arm, reason = "lessons use few of Markdown's elements")]
fn element(tag: &Tag<'_>) -> &'static str {
    match tag {
        Tag::Paragraph => "p",
        Tag::Emphasis => "em",
        Tag::Strong => "strong",
        Tag::BlockQuote(_) => "blockquote",
        Tag::List(Some(_)) => "ol",
        Tag::List(None) => "ul",
        Tag::Item => "li",
        Tag::CodeBlock(_) => "pre",
        _ => "span",
    }
}
