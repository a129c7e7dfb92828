//! What a key means: pure, from a key, the selection and the screen to a wish. The caller carries the wish out.
//!
//! Deliberately absent: reading keys, and answering anything. An editor breaks this by letting `a` or `d` answer an action that is
//! not the one that is shown as selected.

use super::screen::Screen;
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

/// What only the person at the screen changes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ui {
    /// The selected action's number, `a7`; `None`: the first one.
    pub selected: Option<String>,
    /// The pop-up's text.
    pub popup: Option<String>,
    /// The pop-up's first line that is shown.
    pub scroll: u16,
}

/// What the person wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wish {
    /// Nothing that leaves the screen.
    Nothing,
    /// Yes to an action, with the plan that was shown.
    Approve {
        /// The action's number.
        action: String,
        /// The plan's hash.
        plan: String,
    },
    /// No to an action.
    Deny {
        /// The action's number.
        action: String,
    },
    /// Hands off.
    Pause,
    /// The end of hands-off.
    Resume,
    /// An explanation of this action, in the pop-up.
    Explain {
        /// The action's number.
        action: String,
    },
    /// A word to the person.
    Say(String),
    /// The end.
    Quit,
}

impl Ui {
    /// The place of the selected action among what can be selected; an action that is gone gives the first.
    pub fn place(&self, screen: &Screen) -> usize {
        let lines = screen.selectable();
        self.selected.as_ref().and_then(|id| lines.iter().position(|line| &line.id == id)).unwrap_or(0)
    }

    /// Takes a key in.
    pub fn key(&mut self, key: KeyEvent, screen: &Screen) -> Wish {
        if key.kind == KeyEventKind::Release {
            return Wish::Nothing;
        }
        let control = key.modifiers.contains(KeyModifiers::CONTROL);
        if control {
            return if key.code == KeyCode::Char('c') { Wish::Quit } else { Wish::Nothing };
        }
        if self.popup.is_some() {
            return self.key_in_popup(key.code);
        }
        match key.code {
            KeyCode::Char('q') => Wish::Quit,
            KeyCode::Up | KeyCode::Char('k') => self.step(screen, -1),
            KeyCode::Down | KeyCode::Char('j') => self.step(screen, 1),
            KeyCode::Home => self.step(screen, isize::MIN),
            KeyCode::Char('p') => {
                if screen.looping.hands_off.is_some() {
                    Wish::Resume
                } else {
                    Wish::Pause
                }
            }
            KeyCode::Char('e') | KeyCode::Enter => match screen.selectable().get(self.place(screen)) {
                Some(line) => Wish::Explain { action: line.id.clone() },
                None => Wish::Say("there is no action yet".into()),
            },
            KeyCode::Char('a') => self.answer(screen, |action, plan| Wish::Approve { action, plan }),
            KeyCode::Char('d') => self.answer(screen, |action, _| Wish::Deny { action }),
            _ => Wish::Nothing,
        }
    }

    fn key_in_popup(&mut self, code: KeyCode) -> Wish {
        match code {
            KeyCode::Up | KeyCode::Char('k') => self.scroll = self.scroll.saturating_sub(1),
            KeyCode::Down | KeyCode::Char('j') => self.scroll = self.scroll.saturating_add(1),
            KeyCode::PageUp => self.scroll = self.scroll.saturating_sub(10),
            KeyCode::PageDown | KeyCode::Char(' ') => self.scroll = self.scroll.saturating_add(10),
            _ => {
                // Any other key closes it and does nothing else, `q` included.
                (self.popup, self.scroll) = (None, 0);
                return Wish::Nothing;
            }
        }
        let last = self.popup.as_ref().map_or(0, |text| text.lines().count().saturating_sub(1));
        self.scroll = self.scroll.min(u16::try_from(last).unwrap_or(u16::MAX));
        Wish::Nothing
    }

    fn step(&mut self, screen: &Screen, by: isize) -> Wish {
        let lines = screen.selectable();
        if let Some(last) = lines.len().checked_sub(1) {
            let place = self.place(screen).saturating_add_signed(by).min(last);
            self.selected = Some(lines[place].id.clone());
        }
        Wish::Nothing
    }

    fn answer(&self, screen: &Screen, wish: impl Fn(String, String) -> Wish) -> Wish {
        let lines = screen.selectable();
        let Some(line) = lines.get(self.place(screen)) else { return Wish::Say("nothing waits for an answer".into()) };
        if screen.looping.approvals.iter().any(|waiting| waiting.id == line.id) {
            return wish(line.id.clone(), line.plan.clone());
        }
        let waiting = screen.looping.approvals.len();
        let hint = if waiting > 0 { "; select one of the waiting ones with the arrows" } else { "" };
        Wish::Say(format!("{} waits for no answer{hint}", line.id))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::screen::samples::screen;

    fn press(ui: &mut Ui, screen: &Screen, code: KeyCode) -> Wish {
        ui.key(KeyEvent::new(code, KeyModifiers::NONE), screen)
    }

    #[test]
    fn a_answers_the_selected_one_with_the_plan_that_was_shown() {
        let (mut ui, screen) = (Ui::default(), screen());
        assert_eq!(press(&mut ui, &screen, KeyCode::Char('a')), Wish::Approve { action: "a7".into(), plan: "plan7".into() });
        press(&mut ui, &screen, KeyCode::Down);
        assert_eq!(press(&mut ui, &screen, KeyCode::Char('d')), Wish::Deny { action: "a8".into() });
        press(&mut ui, &screen, KeyCode::Down);
        assert!(matches!(press(&mut ui, &screen, KeyCode::Char('a')), Wish::Say(text) if text.starts_with("a6 waits for no answer; ")));
        for _ in 0..20 {
            press(&mut ui, &screen, KeyCode::Down);
        }
        assert_eq!(ui.place(&screen), 5, "the last one is the end");
        press(&mut ui, &screen, KeyCode::Home);
        assert_eq!(ui.place(&screen), 0);
    }

    #[test]
    fn the_selection_stays_with_its_action_when_the_list_moves() {
        let (mut ui, mut screen) = (Ui::default(), screen());
        press(&mut ui, &screen, KeyCode::Down);
        screen.looping.approvals.remove(0);
        assert_eq!(press(&mut ui, &screen, KeyCode::Char('d')), Wish::Deny { action: "a8".into() });
        let nothing = Screen::default();
        assert!(matches!(press(&mut ui, &nothing, KeyCode::Char('a')), Wish::Say(_)));
        assert!(matches!(press(&mut ui, &nothing, KeyCode::Char('e')), Wish::Say(_)));
        assert_eq!(press(&mut ui, &nothing, KeyCode::Down), Wish::Nothing);
    }

    #[test]
    fn p_pauses_and_resumes_and_the_popup_takes_keys_for_itself() {
        let (mut ui, mut screen) = (Ui::default(), screen());
        assert_eq!(press(&mut ui, &screen, KeyCode::Char('p')), Wish::Pause);
        screen.looping.hands_off = Some(crate::http::view::HandsOffLine { since: screen.now, by: "x".into(), reason: "y".into() });
        assert_eq!(press(&mut ui, &screen, KeyCode::Char('p')), Wish::Resume);
        assert_eq!(press(&mut ui, &screen, KeyCode::Char('e')), Wish::Explain { action: "a7".into() });
        ui.popup = Some("one\ntwo\nthree".into());
        press(&mut ui, &screen, KeyCode::PageDown);
        assert_eq!(ui.scroll, 2, "not beyond the text");
        assert_eq!(press(&mut ui, &screen, KeyCode::Char('a')), Wish::Nothing, "no answer behind a pop-up");
        assert_eq!((ui.popup.clone(), ui.scroll), (None, 0));
        assert_eq!(press(&mut ui, &screen, KeyCode::Char('q')), Wish::Quit);
        let control_c = KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL);
        ui.popup = Some("x".into());
        assert_eq!(ui.key(control_c, &screen), Wish::Quit, "Ctrl-C ends it from everywhere");
    }
}
