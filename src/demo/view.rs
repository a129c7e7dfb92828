//! Draws a [`Screen`] with ratatui: from 80×24 upwards, more where there is room. Everything is said in words too, so that it reads
//! the same without colours.
//!
//! Deliberately absent: state (the selection comes from [`Ui`]), and knowledge of the plant. An editor breaks this by giving a colour a
//! meaning that no word has, or by a layout whose fixed rows exceed 24.

use super::keys::Ui;
use super::screen::{ChapterState, NodeView, Screen, ServiceView, countdown, energy, reason, standing};
use crate::http::view::{ActionLine, moment};
use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span, Text};
use ratatui::widgets::{Block, Borders, Clear, Paragraph, Wrap};

/// The keys, in one line of 80 columns.
const HELP: &str = " ↑↓ select  a approve  d deny  e explain  p pause/resume  q quit";
/// The smallest terminal that is drawn to.
const WIDTH_MIN: u16 = 60;
/// And its lines.
const HEIGHT_MIN: u16 = 20;
/// Waiting actions that always have a line.
const WAITING_SHOWN: u16 = 3;
/// From this width on, services have a box of their own.
const WIDE: u16 = 120;

/// Draws everything.
pub fn draw(frame: &mut Frame<'_>, screen: &Screen, ui: &Ui) {
    let area = frame.area();
    if area.width < WIDTH_MIN || area.height < HEIGHT_MIN {
        let text = format!(
            "The terminal is {}×{}; at least {WIDTH_MIN}×{HEIGHT_MIN} is needed (or use --headless). q quits.",
            area.width, area.height
        );
        frame.render_widget(Paragraph::new(text).wrap(Wrap { trim: true }), area);
        return;
    }
    let boxes = (screen.plant.nodes.len().max(screen.chapters.len()) as u16 + 2).clamp(4, area.height / 2 - 2);
    let waiting = (screen.looping.approvals.len() as u16).clamp(1, WAITING_SHOWN.max(area.height.saturating_sub(24) / 3)) + 2;
    let rows = [1, 1, boxes, 1, waiting];
    let [title, stages, upper, services, approvals, actions, status, help] = Layout::vertical([
        Constraint::Length(rows[0]),
        Constraint::Length(rows[1]),
        Constraint::Length(rows[2]),
        Constraint::Length(rows[3]),
        Constraint::Length(rows[4]),
        Constraint::Min(3),
        Constraint::Length(2),
        Constraint::Length(1),
    ])
    .areas(area);
    draw_title(frame, title, screen);
    draw_stages(frame, stages, screen);
    draw_upper(frame, upper, screen);
    if area.width < WIDE {
        frame.render_widget(Paragraph::new(services_line(&screen.plant.services)), services);
    }
    draw_approvals(frame, approvals, screen, ui);
    draw_actions(frame, actions, screen, ui);
    draw_status(frame, status, screen);
    frame.render_widget(Paragraph::new(HELP).style(Style::new().add_modifier(Modifier::DIM)), help);
    if let Some(text) = &ui.popup {
        draw_popup(frame, area, text, ui.scroll);
    }
}

fn bold() -> Style {
    Style::new().add_modifier(Modifier::BOLD)
}

fn boxed(title: String) -> Block<'static> {
    Block::new().borders(Borders::TOP).title(Span::styled(format!(" {title} "), bold()))
}

fn draw_title(frame: &mut Frame<'_>, area: Rect, screen: &Screen) {
    let run = countdown((screen.now.since(screen.began).millis() / 1000).unsigned_abs());
    let left = screen.left_seconds.map_or_else(String::new, |seconds| format!("  {} left", countdown(seconds)));
    let mut spans = vec![
        Span::styled(" Homeostat demo ", bold().add_modifier(Modifier::REVERSED)),
        Span::raw(format!("  {}  +{run} at {}×{left}", moment(screen.now), screen.speed)),
    ];
    match &screen.looping.hands_off {
        Some(hands_off) => {
            spans.push(Span::styled(format!("  HANDS-OFF: {}", hands_off.reason), bold().fg(Color::Yellow)));
        }
        None => spans.push(Span::raw("  acting")),
    }
    frame.render_widget(Paragraph::new(Line::from(spans)), area);
}

fn draw_stages(frame: &mut Frame<'_>, area: Rect, screen: &Screen) {
    let mut spans = vec![Span::raw(" ")];
    for (index, (name, count)) in screen.looping.stages.in_order().into_iter().enumerate() {
        if index > 0 {
            spans.push(Span::raw(" → "));
        }
        spans.push(Span::raw(format!("{name} ")));
        spans.push(Span::styled(short(count), bold()));
    }
    frame.render_widget(Paragraph::new(Line::from(spans)), area);
}

/// A count in at most five characters.
fn short(count: u64) -> String {
    match count {
        0..10_000 => count.to_string(),
        10_000..1_000_000 => format!("{}k", count / 1000),
        _ => format!("{}M", count / 1_000_000),
    }
}

fn draw_upper(frame: &mut Frame<'_>, area: Rect, screen: &Screen) {
    let plant = &screen.plant;
    let watts: f64 = plant.nodes.iter().map(|node| node.watts).sum();
    let nodes = Text::from_iter(plant.nodes.iter().map(node_line));
    let nodes = Paragraph::new(nodes).block(boxed(format!("Nodes, {watts:.0} W")));
    let seen = screen.chapters.iter().filter(|chapter| chapter.state == ChapterState::Seen).count();
    let story = Paragraph::new(Text::from_iter(screen.chapters.iter().map(chapter_line)))
        .block(boxed(format!("Story, {seen} of {} seen", screen.chapters.len())));
    if area.width >= WIDE {
        let [left, middle, right] = Layout::horizontal([Constraint::Length(42), Constraint::Length(34), Constraint::Min(30)]).areas(area);
        let services = Paragraph::new(Text::from_iter(plant.services.iter().map(service_line))).block(boxed("Services".into()));
        frame.render_widget(nodes, left);
        frame.render_widget(services, middle);
        frame.render_widget(story, right);
    } else {
        let [left, right] = Layout::horizontal([Constraint::Length(38), Constraint::Min(20)]).areas(area);
        frame.render_widget(nodes, left);
        frame.render_widget(story, right);
    }
}

fn node_line(node: &NodeView) -> Line<'static> {
    let style = match node.state.as_str() {
        "on" => Style::new(),
        "asleep" | "suspending" => Style::new().add_modifier(Modifier::DIM),
        "starting" => Style::new().fg(Color::Cyan),
        _ => Style::new().fg(Color::Red),
    };
    Line::from(vec![
        Span::raw(format!(" {:<8}", fit(&node.name, 8))),
        Span::styled(format!("{:<10}", fit(&node.state, 10)), style),
        Span::raw(format!("{:>5.0} W {:>3.0}°C {:>3.0}%", node.watts, node.celsius, node.cpu_ratio * 100.0)),
    ])
}

fn chapter_line(chapter: &super::screen::ChapterView) -> Line<'static> {
    let (mark, style) = match chapter.state {
        ChapterState::Pending => ("      ", Style::new().add_modifier(Modifier::DIM)),
        ChapterState::Running => ("now   ", bold()),
        ChapterState::Seen => ("seen  ", Style::new().fg(Color::Green)),
    };
    Line::from(vec![Span::styled(mark, style), Span::styled(chapter.headline.clone(), style)])
}

fn service_words(service: &ServiceView) -> (String, Style) {
    let latency = if service.latency_seconds >= 1.0 {
        format!("{:.1} s", service.latency_seconds)
    } else {
        format!("{:.0} ms", service.latency_seconds * 1000.0)
    };
    if service.up {
        (format!("{}/{} {latency}", service.ready, service.replicas), Style::new())
    } else {
        (format!("DOWN {}/{}", service.ready, service.replicas), bold().fg(Color::Red))
    }
}

fn services_line(services: &[ServiceView]) -> Line<'static> {
    let mut spans = vec![Span::styled(" Services ", bold())];
    for service in services {
        let (words, style) = service_words(service);
        spans.push(Span::raw(format!(" {} ", service.name)));
        spans.push(Span::styled(words, style));
        spans.push(Span::raw(" "));
    }
    Line::from(spans)
}

fn service_line(service: &ServiceView) -> Line<'static> {
    let (words, style) = service_words(service);
    Line::from(vec![Span::raw(format!(" {:<15} ", fit(&service.name, 15))), Span::styled(words, style)])
}

fn draw_approvals(frame: &mut Frame<'_>, area: Rect, screen: &Screen, ui: &Ui) {
    let waiting = &screen.looping.approvals;
    let place = ui.place(screen);
    let room = usize::from(area.height.saturating_sub(1)).max(1);
    let first = place.min(waiting.len().saturating_sub(1)).saturating_sub(room - 1);
    let width = usize::from(area.width);
    let line = |(index, line): (usize, &ActionLine)| {
        let left = line.answer_by.map_or(0, |by| by.since(screen.now).millis() / 1000);
        // The plant's time runs faster than the person's; both are said.
        let real = (left as f64 / screen.speed.max(0.1)) as u64;
        let time = format!("{} ({real} s)", countdown(left.unsigned_abs()));
        let text = format!("{:<5}{:<15} {}  {}", line.id, time, what(line), line.because);
        Line::styled(
            fit(&format!("{}{text}", arrow(index == place)), width),
            if index == place { bold().fg(Color::Yellow) } else { bold() },
        )
    };
    let text = if waiting.is_empty() {
        Text::styled("  nobody is asked just now", Style::new().add_modifier(Modifier::DIM))
    } else {
        Text::from_iter(waiting.iter().enumerate().skip(first).take(room).map(line))
    };
    let title = format!("Waits for you, {} (a: yes, d: no)", waiting.len());
    frame.render_widget(Paragraph::new(text).block(boxed(title)), area);
}

fn arrow(is_selected: bool) -> &'static str {
    if is_selected { "> " } else { "  " }
}

fn what(line: &ActionLine) -> String {
    format!("{} {}", line.verb, line.target)
}

fn draw_actions(frame: &mut Frame<'_>, area: Rect, screen: &Screen, ui: &Ui) {
    let lines = screen.selectable();
    let waiting = screen.looping.approvals.len();
    let place = ui.place(screen);
    let room = usize::from(area.height.saturating_sub(1)).max(1);
    let first = place.saturating_sub(waiting).saturating_sub(room - 1);
    let width = usize::from(area.width);
    let rest = lines.iter().enumerate().skip(waiting + first).take(room);
    let text = Text::from_iter(rest.map(|(index, line)| action_line(line, index == place, width)));
    let stages = &screen.looping.stages;
    let title = format!("Proposals, newest first; claims: {} held, {} not held", stages.held, stages.failed);
    frame.render_widget(Paragraph::new(text).block(boxed(title)), area);
}

fn action_line(line: &ActionLine, is_selected: bool, width: usize) -> Line<'static> {
    let style = match (line.phase.as_str(), line.judged.as_deref()) {
        (_, Some("held")) => Style::new().fg(Color::Green),
        (_, Some("failed")) | ("not_done", _) => Style::new().fg(Color::Red),
        ("denied" | "deferred" | "shadowed" | "closed", _) => Style::new().add_modifier(Modifier::DIM),
        _ => Style::new(),
    };
    let head = format!("{}{:<5}{:<20} {}  ", arrow(is_selected), line.id, fit(&standing(line), 20), what(line));
    let rest = fit(reason(line), width.saturating_sub(head.chars().count()));
    let style = if is_selected { style.add_modifier(Modifier::BOLD) } else { style };
    Line::from(vec![Span::styled(fit(&head, width), style), Span::styled(rest, Style::new().add_modifier(Modifier::DIM))])
}

fn draw_status(frame: &mut Frame<'_>, area: Rect, screen: &Screen) {
    let plant = &screen.plant;
    let faults = if plant.faults.is_empty() { "nothing".to_owned() } else { plant.faults.join(", ") };
    let saved = format!(" Saved {} of {}", energy(plant.joules_saved()), energy(plant.joules_always_on));
    let first = fit(&format!("{saved}   broken: {faults}"), usize::from(area.width));
    let second = if screen.said.is_empty() { format!(" {}", screen.address) } else { format!(" {}", screen.said) };
    let text = Text::from(vec![Line::raw(first), Line::styled(fit(&second, usize::from(area.width)), bold())]);
    frame.render_widget(Paragraph::new(text), area);
}

fn draw_popup(frame: &mut Frame<'_>, area: Rect, text: &str, scroll: u16) {
    let inner = Rect::new(area.x + 2, area.y + 1, area.width.saturating_sub(4), area.height.saturating_sub(2));
    let block = Block::bordered().title(" Why (↑↓ scroll, any other key closes) ");
    frame.render_widget(Clear, inner);
    frame.render_widget(Paragraph::new(text.to_owned()).block(block).wrap(Wrap { trim: false }).scroll((scroll, 0)), inner);
}

/// Cut to so many characters, with a mark where something is missing.
fn fit(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    let mut cut: String = text.chars().take(width.saturating_sub(1)).collect();
    if width > 0 {
        cut.push('…');
    }
    cut
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::screen::samples::{action, screen};
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;

    fn drawn(width: u16, height: u16, screen: &Screen, ui: &Ui) -> Vec<String> {
        let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
        terminal.draw(|frame| draw(frame, screen, ui)).unwrap();
        let buffer = terminal.backend().buffer();
        (0..height).map(|y| (0..width).map(|x| buffer[(x, y)].symbol()).collect::<String>().trim_end().to_owned()).collect()
    }

    fn has(lines: &[String], wanted: &str) -> bool {
        lines.iter().any(|line| line.contains(wanted))
    }

    #[test]
    fn at_80_by_24_everything_of_the_story_stands_there_in_words() {
        let lines = drawn(80, 24, &screen(), &Ui::default());
        let wanted = [
            "+42:00 at 30×  1:36 left  acting",
            "sense 1200 → store 48k → analyse 900 → propose 8 → rule 14 → act 5 → judge 2",
            "Nodes, 250 W",
            "muscle  starting    190 W  29°C   0%",
            "Story, 1 of 3 seen",
            "seen  A disk fills and is cleaned",
            "web 2/2 82 ms",
            "photos DOWN 0/2",
            "Waits for you, 2",
            "> a7   15:00 (30 s)    http.evacuate disk/nas:sdb",
            "a6   denied               power.sleep node/brain  own base: node/",
            "done, did not help",
            "done, helped",
            "claims: 1 held, 1 not held",
            "Saved 61.1 Wh",
            "broken: runaway-log filesystem/nas:/srv, crash-loo",
            "http://127.0.0.1:41234/",
            "q quit",
        ];
        for text in wanted {
            assert!(has(&lines, text), "missing: {text}\n{}", lines.join("\n"));
        }
        assert!(lines.iter().all(|line| line.chars().count() <= 80));
    }

    #[test]
    fn a_wide_screen_gives_services_a_box_and_a_small_one_says_so() {
        let lines = drawn(140, 40, &screen(), &Ui::default());
        assert!(has(&lines, " Services ") && has(&lines, "photos          DOWN 0/2"), "{}", lines.join("\n"));
        let lines = drawn(40, 10, &screen(), &Ui::default());
        assert!(has(&lines, "40×10"), "{}", lines.join("\n"));
        for (width, height) in [(60, 20), (61, 21), (119, 24), (120, 24), (300, 100), (1, 1)] {
            drawn(width, height, &screen(), &Ui::default());
            drawn(width, height, &Screen::default(), &Ui { popup: Some("x".into()), ..Ui::default() });
        }
    }

    #[test]
    fn the_selected_line_is_always_in_sight() {
        let mut screen = screen();
        screen.looping.actions.extend((10..60).map(|id| action(id, "http.x", "node/y", "done")));
        let mut ui = Ui { selected: Some("a59".into()), ..Ui::default() };
        assert!(has(&drawn(80, 24, &screen, &ui), "> a59"));
        screen.looping.approvals = (100..120).map(|id| action(id, "http.x", "node/y", "awaiting_approval")).collect();
        ui.selected = Some("a119".into());
        let lines = drawn(80, 24, &screen, &ui);
        assert!(has(&lines, "> a119"), "{}", lines.join("\n"));
        assert!(has(&lines, "Proposals"), "the proposals keep their place");
    }

    #[test]
    fn hands_off_and_the_pop_up_stand_out_in_words() {
        let mut screen = screen();
        screen.looping.hands_off =
            Some(crate::http::view::HandsOffLine { since: screen.now, by: "demo".into(), reason: "a look around".into() });
        screen.said = "paused".into();
        let ui = Ui { popup: Some("action     a7\nbecause    it fails\n".repeat(30)), scroll: 1, ..Ui::default() };
        let lines = drawn(80, 24, &screen, &Ui::default());
        assert!(has(&lines, "HANDS-OFF"), "{}", lines.join("\n"));
        assert!(has(&lines, " paused"));
        let lines = drawn(80, 24, &screen, &ui);
        assert!(has(&lines, "any other key closes") && lines[2].contains("because    it fails"), "{}", lines.join("\n"));
    }
}
