//! Gestures on the stage, and the same actions with keys only.

use anyhow::Result;
use browser_tests::{Colours, Looks, Page, Pointer, Screen, Site, Touch, with_page};

const ESCAPE: &str = "\u{e00c}";
const DELETE: &str = "\u{e017}";
const SHIFT: &str = "\u{e008}";
const TAB: &str = "\u{e004}";
const ENTER: &str = "\u{e007}";
const LEFT: &str = "\u{e012}";
const RIGHT: &str = "\u{e014}";
const DOWN: &str = "\u{e015}";

/// The looks of a phone.
const PHONE: Looks = Looks { screen: Screen::Phone, colours: Colours::Dark };

async fn count(page: &Page, selector: &str) -> u64 {
    let count = page.ask(&format!("document.querySelectorAll(\"{selector}\").length")).await;
    count.as_u64().unwrap_or_default()
}

/// The address of a cluster of five servers.
fn five(site: &Site) -> String {
    format!("{}/#source=simulate&seed=7&servers=5", site.url())
}

/// Pauses the clock and steps until a message is well on its way and not above a server.
async fn catch(page: &Page) -> Mark {
    let found = "const way = it => Math.hypot(it.x2.baseVal.value - it.x1.baseVal.value, \
                   it.y2.baseVal.value - it.y1.baseVal.value); \
                 const plates = [...document.querySelectorAll('.server .plate')] \
                   .map(it => it.getBoundingClientRect()); \
                 const free = box => plates.every(plate => box.right < plate.left \
                   || box.left > plate.right || box.bottom < plate.top || box.top > plate.bottom); \
                 const it = [...document.querySelectorAll('.flight[data-message]:not(.held)')] \
                   .find(it => way(it.querySelector('.trail')) > 24 \
                     && free(it.querySelector('.grip').getBoundingClientRect()));";
    pause(page).await;
    page.step_until(
        "a message well on its way",
        &format!("(() => {{ {found} return it !== undefined; }})()"),
    )
    .await;
    let mark = page
        .ask(&format!(
            "(() => {{ {found} const box = it.querySelector('.grip').getBoundingClientRect(); \
               const trail = it.querySelector('.trail'); \
               const [dx, dy] = [trail.x2.baseVal.value - trail.x1.baseVal.value, \
                                 trail.y2.baseVal.value - trail.y1.baseVal.value]; \
               const length = Math.hypot(dx, dy); \
               return [box.left + box.width / 2, box.top + box.height / 2, \
                       dx / length, dy / length, it.dataset.message]; }})()"
        ))
        .await;
    let part = |place: usize| mark[place].as_f64().expect("a number");
    Mark {
        at: (part(0), part(1)),
        along: (part(2), part(3)),
        id: mark[4].as_str().unwrap_or_default().to_owned(),
    }
}

/// A message on the stage: its position, its direction and its ID.
struct Mark {
    at: (f64, f64),
    along: (f64, f64),
    id: String,
}

impl Mark {
    /// The point at this distance along the message's way and to the side.
    fn beside(&self, along: f64, aside: f64) -> (f64, f64) {
        let (x, y) = self.along;
        (self.at.0 + x * along - y * aside, self.at.1 + y * along + x * aside)
    }

    fn selector(&self) -> String {
        format!("document.querySelector(\"[data-message='{}']\")", self.id)
    }
}

async fn pause(page: &Page) {
    let plays = "document.querySelector('[data-testid=play]').dataset.playing === 'true'";
    if page.ask(plays).await == true {
        page.click("play").await;
        page.wait("a pause", &format!("!({plays})")).await;
    }
}

/// Moves to a position in small steps, like a slow hand.
fn slowly(from: (f64, f64), to: (f64, f64)) -> Vec<Touch> {
    let step = |part: u32| {
        let share = f64::from(part) / 8.0;
        let at = (from.0 + (to.0 - from.0) * share, from.1 + (to.1 - from.1) * share);
        [Touch::To(at, 0), Touch::Rest(60)]
    };
    (1..=8).flat_map(step).collect()
}

/// Guards the partition by gesture: a stroke across the ring names the groups that it separates.
/// One Undo heals the links, and Esc cancels the stroke.
#[tokio::test]
async fn a_stroke_across_the_ring_is_a_partition() -> Result<()> {
    let site = Site::open().await?;
    with_page(&five(&site), Looks::PLAIN, async |page| {
        page.wait_for_leader(None).await;
        pause(page).await;
        let (one, two) = (
            page.middle("[data-testid=server-S1] .plate").await,
            page.middle("[data-testid=server-S5] .plate").await,
        );
        let across = page.middle("[data-testid=server-S3] .plate").await;
        let other = page.middle("[data-testid=server-S2] .plate").await;
        let between =
            |a: (f64, f64), b: (f64, f64)| (f64::midpoint(a.0, b.0), f64::midpoint(a.1, b.1));
        // The stroke passes between S1 and S5 and between S2 and S3, with S1 and S2 on one side.
        let (start, end) = (between(one, two), between(other, across));
        let out = |from: (f64, f64), to: (f64, f64)| {
            (to.0 + (to.0 - from.0) * 0.35, to.1 + (to.1 - from.1) * 0.35)
        };
        let (start, end) = (out(end, start), out(start, end));
        for given_up in [true, false] {
            let mut stroke = vec![Touch::To(start, 0), Touch::Down];
            stroke.extend(slowly(start, end));
            page.point(Pointer::Mouse, &stroke).await;
            page.wait("the stroke", "document.querySelector('.stroke') !== null").await;
            assert_eq!(page.text("gesture-words").await, "cuts S1, S2 from S3, S4, S5");
            assert_eq!(count(page, ".link.doomed").await, 6);
            if given_up {
                page.strike(ESCAPE, false).await;
                page.wait("it to be given up", "document.querySelector('.stroke') === null").await;
            }
            page.point(Pointer::Mouse, &[Touch::Up]).await;
            let cut = if given_up { 0 } else { 6 };
            let done =
                format!("document.querySelectorAll('.link[data-state=cut]').length === {cut}");
            page.wait("the links", &done).await;
        }
        page.click("undo").await;
        page.wait(
            "one undo to mend all",
            "document.querySelector('.link[data-state=cut]') === null",
        )
        .await;
    })
    .await
}

/// Guards that a message can be dragged: pulled back it arrives later, with Shift it arrives twice,
/// and flicked away it is lost. The page names the effect meanwhile. A press chooses the message,
/// and the inspector shows its fields.
#[tokio::test]
async fn a_message_is_delayed_doubled_and_lost_by_hand() -> Result<()> {
    let site = Site::open().await?;
    with_page(site.url(), Looks::PLAIN, async |page| {
        page.wait_for_leader(None).await;
        let mark = catch(page).await;
        page.point(Pointer::Mouse, &[Touch::To(mark.at, 0), Touch::Down, Touch::Up]).await;
        page.wait("it to be chosen", "document.querySelector('.flight.chosen') !== null").await;
        assert!(page.text("fields").await.contains("term"), "{}", page.text("fields").await);
        let due = "[...document.querySelectorAll('[data-testid=fields] div')] \
                   .find(it => it.firstChild.innerText === 'due').querySelector('.value').innerText";
        let before = page.ask(due).await;

        let back = mark.beside(-40.0, 0.0);
        let mut pull = vec![Touch::To(mark.at, 0), Touch::Down];
        pull.extend(slowly(mark.at, back));
        page.point(Pointer::Mouse, &pull).await;
        page.wait("what it means", "/^arrives \\d+ ms later$/.test(document.querySelector('[data-testid=gesture-words]').innerText)").await;
        page.point(Pointer::Mouse, &[Touch::Up]).await;
        page.wait("a later arrival", &format!("{due} !== {before}")).await;

        let all = count(page, ".flight").await;
        page.hold_key(SHIFT, true).await;
        let at = page.middle(".flight.chosen .grip").await;
        page.point(Pointer::Mouse, &[Touch::To(at, 0), Touch::Down]).await;
        page.wait("what it means", "document.querySelector('[data-testid=gesture-words]').innerText === 'arrives twice'").await;
        page.point(Pointer::Mouse, &[Touch::Up]).await;
        page.hold_key(SHIFT, false).await;
        page.wait("the copy", &format!("document.querySelectorAll('.flight').length === {}", all + 1))
            .await;

        // On a busy machine a flick may be too slow to count; then it does nothing.
        let away = (at.0 + 60.0 * mark.along.0, at.1 + 60.0 * mark.along.1 - 30.0);
        let flick = [Touch::To(at, 0), Touch::Down, Touch::To(away, 0), Touch::Up];
        let lost = "document.querySelector('.flight.lost') !== null";
        for _ in 0..20 {
            page.point(Pointer::Mouse, &flick).await;
            if page.ask(lost).await == true {
                return;
            }
        }
        panic!("no flick loses the message");
    })
    .await
}

/// Guards touch on a phone: a finger that rests on a server opens its menu and chooses nothing in
/// it. A finger on a message moves the message, not the page. A finger that moves up scrolls.
#[tokio::test]
async fn a_finger_rests_holds_and_scrolls() -> Result<()> {
    let site = Site::open().await?;
    with_page(site.url(), PHONE, async |page| {
        let leader = page.wait_for_leader(None).await;
        pause(page).await;
        let other = if leader == "S1" { "S2" } else { "S1" };
        let at = page.middle(&format!("[data-testid=server-{other}] .plate")).await;
        let finger = Pointer::Finger;
        page.point(finger, &[Touch::To(at, 0), Touch::Down, Touch::Rest(800), Touch::Up]).await;
        page.wait("the menu", "document.querySelector('[role=menu]') !== null").await;
        let inside = "(box => box.left >= 0 && box.top >= 0 && box.right <= innerWidth \
                      && box.bottom <= innerHeight)(document.querySelector('[role=menu]').getBoundingClientRect())";
        assert_eq!(page.ask(inside).await, true, "the menu is cut off");
        page.click("menu-freeze").await;
        page.wait(
            "the server to freeze",
            &format!("document.querySelector('[data-testid=server-{other}]').dataset.presence === 'frozen'"),
        )
        .await;
        assert_eq!(count(page, "[role=menu]").await, 0);

        let mark = catch(page).await;
        let mut pull = vec![Touch::To(mark.at, 0), Touch::Down];
        pull.extend(slowly(mark.at, mark.beside(0.0, 90.0)));
        pull.push(Touch::Up);
        page.point(finger, &pull).await;
        page.wait("it to be gone", &format!("{} === null", mark.selector())).await;

        let corner = page.middle(".stage > svg").await;
        let from = (corner.0 - 175.0, corner.1 + 110.0);
        let mut scroll = vec![Touch::To(from, 0), Touch::Down];
        scroll.extend(slowly(from, (from.0, from.1 - 160.0)));
        scroll.push(Touch::Up);
        page.point(finger, &scroll).await;
        page.wait("the page to scroll", "window.scrollY > 20").await;
    })
    .await
}

/// Whether the focused element is marked visibly.
async fn is_marked(page: &Page) -> bool {
    let marked = "(() => { const it = document.activeElement; \
        if (it === document.body) { return false; } \
        const seen = style => style.outlineStyle !== 'none' && parseFloat(style.outlineWidth) > 0 \
          || style.stroke !== 'none' && parseFloat(style.strokeWidth) >= 2; \
        return [it, ...it.querySelectorAll('.hit, .grip')].some(it => seen(getComputedStyle(it))); })()";
    page.ask(marked).await == true
}

/// Guards that keys suffice for a whole session: election, faults, time travel, a message in
/// transit and a lesson. The focused element is always visible.
#[tokio::test]
async fn a_whole_session_by_keys_alone() -> Result<()> {
    let site = Site::open().await?;
    with_page(&five(&site), Looks::PLAIN, async |page| {
        let leader = page.wait_for_leader(None).await;
        walk(page).await;
        crash(page, &leader).await;
        part(page).await;
        menu(page).await;
        branch(page).await;
        message(page).await;
        lesson(page).await;
    })
    .await
}

/// More than one message is in transit.
const MESSAGES: &str = "document.querySelectorAll('.flight[data-message]').length > 1";

/// Tabs through the whole page: each focused element is visible, and the messages are a single
/// stop.
async fn walk(page: &Page) {
    let strike = async |key: &str| page.strike(key, false).await;
    let mut messages = 0;
    strike(" ").await;
    page.step_until("messages", MESSAGES).await;
    for _ in 0..45 {
        strike(TAB).await;
        if page.ask("document.activeElement === document.body").await == true {
            break;
        }
        let what = page.ask("document.activeElement.outerHTML.slice(0, 90)").await;
        assert!(is_marked(page).await, "unseen: {what}");
        messages +=
            u32::from(page.ask("document.activeElement.dataset.testid === 'flight'").await == true);
    }
    assert_eq!(messages, 1, "stops at messages");
    page.ask("document.activeElement.blur()").await;
    strike(" ").await;
}

/// Crashes the leader, waits for another leader, and restarts the crashed server.
async fn crash(page: &Page, leader: &str) {
    let strike = async |key: &str| page.strike(key, false).await;
    strike("x").await;
    page.wait_for_role(leader, "none").await;
    page.wait_for_leader(Some(leader)).await;
    strike(leader.trim_start_matches('S')).await;
    strike("x").await;
    page.wait_for_role(leader, "follower").await;
}

/// Cuts two servers off from the rest.
async fn part(page: &Page) {
    let strike = async |key: &str| page.strike(key, false).await;
    strike("1").await;
    page.strike("2", true).await;
    page.wait(
        "both to be chosen",
        "document.querySelectorAll('.server[aria-pressed=true]').length === 2",
    )
    .await;
    strike("p").await;
    page.wait("cut links", "document.querySelectorAll('.link[data-state=cut]').length === 6").await;
    strike("p").await;
    page.wait("mended links", "document.querySelector('.link[data-state=cut]') === null").await;
    strike(ESCAPE).await;
    page.wait("to let go", "document.querySelector('.server[aria-pressed=true]') === null").await;
}

/// Freezes a server with its menu.
async fn menu(page: &Page) {
    let strike = async |key: &str| page.strike(key, false).await;
    page.ask("document.querySelector('[data-testid=server-S3]').focus()").await;
    page.strike("\u{e03a}", true).await; // F10
    page.wait("the menu", "document.activeElement.role === 'menuitem'").await;
    strike(DOWN).await;
    assert!(is_marked(page).await);
    strike(ENTER).await;
    page.wait(
        "a frozen server",
        "document.querySelector('[data-testid=server-S3]').dataset.presence === 'frozen'",
    )
    .await;
    page.wait("the focus to come back", "document.activeElement.dataset.testid === 'server-S3'")
        .await;
    strike("f").await;
    page.wait(
        "it to go on",
        "document.querySelector('[data-testid=server-S3]').dataset.presence === 'up'",
    )
    .await;
}

/// Writes, steps back, acts there, and undoes the action.
async fn branch(page: &Page) {
    let strike = async |key: &str| page.strike(key, false).await;
    page.wait_for_leader(None).await;
    page.ask("document.activeElement.blur()").await;
    strike("c").await;
    page.wait_for_entry("x = 1", &["S1", "S2"]).await;
    strike(" ").await;
    strike(LEFT).await;
    strike(RIGHT).await;
    strike(LEFT).await;
    page.wait("the past", "document.querySelector('[data-testid=scrub]').dataset.past === 'true'")
        .await;
    let branches = count(page, ".lane").await;
    strike("4").await;
    strike("f").await;
    page.wait(
        "a branch",
        &format!("document.querySelectorAll('.lane').length === {}", branches + 1),
    )
    .await;
    strike("z").await;
    page.wait("no frost", "document.querySelector('[data-presence=frozen]') === null").await;
}

/// Chooses a message, moves to the next, returns, holds the message and drops it.
async fn message(page: &Page) {
    let strike = async |key: &str| page.strike(key, false).await;
    strike(ESCAPE).await;
    page.step_until("messages", MESSAGES).await;
    strike("m").await;
    page.wait("a message", "document.querySelector('.flight.chosen') === document.activeElement")
        .await;
    assert!(is_marked(page).await);
    let first = page.ask("document.activeElement.dataset.message").await;
    strike(RIGHT).await;
    page.wait("the next", &format!("document.activeElement.dataset.message !== {first}")).await;
    page.strike("M", true).await;
    strike("m").await;
    page.wait(
        "it again",
        &format!("document.querySelector('.flight.chosen')?.dataset.message === {first}"),
    )
    .await;
    strike("h").await;
    page.wait("it to be held", "document.querySelector('.flight.chosen.held') !== null").await;
    strike(DELETE).await;
    page.wait(
        "it to be lost",
        &format!(
            "document.querySelector('[data-message=\"{}\"]') === null",
            first.as_str().unwrap_or_default()
        ),
    )
    .await;
}

/// Opens the dialogs and a lesson.
async fn lesson(page: &Page) {
    let strike = async |key: &str| page.strike(key, false).await;
    for (key, dialog) in [("s", "share"), ("?", "help"), ("l", "lessons")] {
        strike(key).await;
        page.wait(dialog, &format!("document.querySelector('dialog.{dialog}')?.open === true"))
            .await;
        assert!(
            page.ask("document.querySelector('dialog[open]').contains(document.activeElement)")
                .await
                == true
        );
        if dialog != "lessons" {
            strike(ESCAPE).await;
            page.wait("it to close", "document.querySelector('dialog[open]') === null").await;
        }
    }
    page.ask("document.querySelector('dialog.lessons ul button').focus()").await;
    strike(ENTER).await;
    page.wait("the lesson", "document.querySelector('.page').dataset.lesson === 'true'").await;
    // A dialog that closes gives the focus back.
    page.wait("the list to close", "document.querySelector('dialog[open]') === null").await;
    for (key, place) in [(RIGHT, "2 of"), (LEFT, "1 of")] {
        page.strike(key, true).await;
        let count = "document.querySelector('.lesson .count').innerText";
        page.wait(place, &format!("{count}.startsWith('{place}')")).await;
    }
    page.ask("document.querySelector('[data-testid=leave-lesson]').focus()").await;
    strike(ENTER).await;
    page.wait(
        "the lesson to be over",
        "document.querySelector('.page').dataset.lesson === 'false'",
    )
    .await;
}

/// Guards that all views share one selection: an event marks its server, message and index
/// everywhere. A column marks the disks that hold it. Esc clears the selection.
#[tokio::test]
async fn one_selection_is_marked_everywhere() -> Result<()> {
    let site = Site::open().await?;
    with_page(site.url(), Looks::PLAIN, async |page| {
        let leader = page.wait_for_leader(None).await;
        page.click("submit").await;
        page.wait_for_entry("x = 1", &["S1", "S2", "S3"]).await;
        let mark = catch(page).await;
        page.press("d").await;
        page.press("m").await;
        page.wait("a message", "document.querySelector('.flight.chosen') !== null").await;
        page.wait("its arrow", "document.querySelectorAll('.arrow.picked').length === 1").await;
        page.click("side-events").await;
        page.click("weight-all").await;
        page.wait("its events", "document.querySelector('.line.about') !== null").await;
        page.press("d").await;
        page.click("column-2").await;
        page.wait("the disks", "document.querySelectorAll('[data-testid=holds]').length === 3")
            .await;
        assert_eq!(count(page, ".flight.chosen").await, 0, "one thing is chosen");
        assert!(page.text("fields").await.contains("x = 1"));
        page.fill("search", "its commit index from 1 to 2").await;
        page.wait(
            "its lines",
            "document.querySelectorAll('[data-testid=events] .line').length > 0",
        )
        .await;
        page.ask("document.querySelector('[data-testid=events] .line').click()").await;
        page.wait("the reason", "document.querySelector('[data-testid=why]') !== null").await;
        page.wait(
            "its column",
            "document.querySelector('.column.chosen [data-testid=column-2]') !== null",
        )
        .await;
        assert_eq!(count(page, ".server[aria-pressed=true]").await, 1);
        page.press(ESCAPE).await;
        page.wait("to let go", "document.querySelector('.inspector.idle') !== null").await;
        assert_eq!(count(page, ".column.chosen, .server[aria-pressed=true]").await, 0);
        assert!(!mark.id.is_empty() && !leader.is_empty());
    })
    .await
}
