//! What the screen shows, and what keys change of it. Nothing here draws or looks.

use crate::{
    channels::{Column, Look, Row, order},
    find::{Blind, ChannelId},
};

/// Which page is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Page {
    Table,
    Detail,
    Help,
}

/// What a key asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Command {
    Quit,
    /// By so many rows; negative is up.
    Move(isize),
    First,
    Last,
    Open,
    Back,
    Help,
    SortNext,
    SortPrevious,
    Reverse,
    Filter,
    Pause,
    /// Into the filter.
    Type(char),
    Erase,
}

/// The state of the screen.
pub(crate) struct App {
    rows: Vec<Row>,
    /// Which of them are shown, in this order.
    order: Vec<usize>,
    pub(crate) blind: Blind,
    pub(crate) page: Page,
    pub(crate) sort: Column,
    pub(crate) is_reversed: bool,
    /// Only channels in which this occurs are shown.
    pub(crate) filter: String,
    /// Keys go into the filter.
    pub(crate) is_typing: bool,
    pub(crate) is_paused: bool,
    pub(crate) is_done: bool,
    selected: Option<ChannelId>,
    /// Where the selected row was, for when it goes.
    selected_index: usize,
    /// The row of the page of details, as it was last seen.
    opened: Option<Row>,
    /// Whether it is gone.
    pub(crate) is_gone: bool,
    /// How far a page of text was scrolled, in lines.
    pub(crate) scroll: usize,
}

impl App {
    pub(crate) fn new(filter: String) -> Self {
        Self {
            rows: Vec::new(),
            order: Vec::new(),
            blind: Blind::default(),
            page: Page::Table,
            sort: Column::Messages,
            is_reversed: false,
            filter,
            is_typing: false,
            is_paused: false,
            is_done: false,
            selected: None,
            selected_index: 0,
            opened: None,
            is_gone: false,
            scroll: 0,
        }
    }

    /// Takes in what was found.
    pub(crate) fn update(&mut self, look: Look) {
        if self.is_paused {
            return;
        }
        (self.rows, self.blind) = (look.rows, look.blind);
        if let Some(opened) = &mut self.opened {
            let now = self.rows.iter().find(|row| row.id == opened.id);
            self.is_gone = now.is_none();
            if let Some(now) = now {
                *opened = now.clone();
            }
        }
        self.arrange();
    }

    /// The rows that the filter leaves, in their order.
    pub(crate) fn shown(&self) -> Vec<&Row> {
        self.order.iter().map(|&index| &self.rows[index]).collect()
    }

    /// All channels there are, shown or not.
    pub(crate) fn rows(&self) -> &[Row] {
        &self.rows
    }

    /// Where the selected row stands among those that are shown.
    pub(crate) fn selected_index(&self) -> usize {
        self.selected_index
    }

    /// The row of the page of details.
    pub(crate) fn opened(&self) -> Option<&Row> {
        self.opened.as_ref()
    }

    /// Does what a key asks for.
    pub(crate) fn command(&mut self, command: Command) {
        match (command, self.page) {
            (Command::Quit, _) => self.is_done = true,
            (Command::Type(c), _) => self.filter.push(c),
            (Command::Erase, _) => drop(self.filter.pop()),
            (Command::Open, _) if self.is_typing => self.is_typing = false,
            (Command::Back, _) if self.is_typing => {
                self.filter.clear();
                self.is_typing = false;
            }
            (Command::Help, Page::Help) | (Command::Back, Page::Help | Page::Detail) => self.turn_to(Page::Table),
            (Command::Back, Page::Table) => self.filter.clear(),
            (Command::Help, _) => self.turn_to(Page::Help),
            (Command::Pause, _) => self.is_paused = !self.is_paused,
            (Command::Move(by), Page::Table) => self.select(self.selected_index.saturating_add_signed(by)),
            (Command::First, Page::Table) => self.select(0),
            (Command::Last, Page::Table) => self.select(usize::MAX),
            (Command::Move(by), _) => self.scroll = self.scroll.saturating_add_signed(by),
            (Command::First, _) => self.scroll = 0,
            (Command::Last, _) => self.scroll = usize::MAX,
            (Command::Open, Page::Table) => self.open(),
            (Command::SortNext, _) => self.sort = neighbour(self.sort, 1),
            (Command::SortPrevious, _) => self.sort = neighbour(self.sort, Column::ALL.len() - 1),
            (Command::Reverse, _) => self.is_reversed = !self.is_reversed,
            (Command::Filter, Page::Table) => self.is_typing = true,
            (Command::Filter | Command::Open, _) => {}
        }
        self.arrange();
    }

    fn turn_to(&mut self, page: Page) {
        self.scroll = 0;
        self.page = page;
        if page == Page::Table {
            self.opened = None;
        }
    }

    fn open(&mut self) {
        let row = self.shown().get(self.selected_index).map(|row| (*row).clone());
        if row.is_some() {
            self.turn_to(Page::Detail);
            (self.opened, self.is_gone) = (row, false);
        }
    }

    fn select(&mut self, index: usize) {
        let shown = self.shown();
        let index = index.min(shown.len().saturating_sub(1));
        let id = shown.get(index).map(|row| row.id.clone());
        (self.selected_index, self.selected) = (index, id);
    }

    /// Puts the rows in order, and keeps the same channel selected; what stands in its place, where it is gone.
    fn arrange(&mut self) {
        self.order = order(&self.rows, &self.filter, self.sort, self.is_reversed);
        let index = self.selected.as_ref().and_then(|id| self.shown().iter().position(|row| row.id == *id));
        self.select(index.unwrap_or(self.selected_index));
    }
}

/// The column beside another one, round and round.
fn neighbour(column: Column, by: usize) -> Column {
    let index = Column::ALL.iter().position(|other| *other == column).unwrap_or(0);
    Column::ALL[(index + by) % Column::ALL.len()]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::channels::row_for_test as row;

    fn app(names: &[(&str, f64)]) -> App {
        let mut app = App::new(String::new());
        see(&mut app, names);
        app
    }

    /// Another look: services, and how many messages per second each has.
    fn see(app: &mut App, names: &[(&str, f64)]) {
        app.update(Look::of(names.iter().map(|(name, rate)| row(name, *rate)).collect()));
    }

    fn names(app: &App) -> Vec<&str> {
        app.shown().into_iter().map(|row| &*row.service).collect()
    }

    fn selected(app: &App) -> &str {
        names(app)[app.selected_index()]
    }

    #[test]
    fn the_busiest_come_first_and_the_selection_goes_with_its_channel() {
        let mut app = app(&[("a", 1.0), ("b", 9.0), ("c", 5.0)]);
        assert_eq!((names(&app), selected(&app)), (vec!["b", "c", "a"], "b"));
        app.command(Command::Move(1));
        see(&mut app, &[("a", 1.0), ("b", 2.0), ("c", 5.0)]);
        assert_eq!((names(&app), selected(&app)), (vec!["c", "b", "a"], "c"));
        app.command(Command::Reverse);
        assert_eq!((names(&app), selected(&app)), (vec!["a", "b", "c"], "c"));
        app.command(Command::Reverse);
        // What is selected is gone: what stands in its place now.
        see(&mut app, &[("a", 1.0), ("b", 2.0)]);
        assert_eq!(selected(&app), "b");
        see(&mut app, &[]);
        assert_eq!(app.selected_index(), 0);
    }

    #[test]
    fn no_key_leads_out_of_the_table() {
        let mut app = app(&[("a", 1.0), ("b", 2.0)]);
        for (command, expected) in [
            (Command::Move(-1), "b"),
            (Command::Move(10), "a"),
            (Command::First, "b"),
            (Command::Last, "a"),
            (Command::Move(isize::MIN), "b"),
            (Command::Move(isize::MAX), "a"),
        ] {
            app.command(command);
            assert_eq!(selected(&app), expected, "{command:?}");
        }
        let mut empty = self::app(&[]);
        [Command::Move(1), Command::Last, Command::Open, Command::Back].into_iter().for_each(|c| empty.command(c));
        assert_eq!(empty.page, Page::Table);
    }

    #[test]
    fn a_filter_is_typed_kept_and_dropped() {
        let mut app = app(&[("orders", 1.0), ("books", 2.0)]);
        app.command(Command::Filter);
        "ORDx".chars().for_each(|c| app.command(Command::Type(c)));
        assert!(names(&app).is_empty());
        app.command(Command::Erase);
        assert_eq!(names(&app), ["orders"]);
        app.command(Command::Open);
        assert_eq!((app.page, app.is_typing, names(&app)), (Page::Table, false, vec!["orders"]));
        app.command(Command::Back);
        assert_eq!(names(&app).len(), 2);
        app.command(Command::Filter);
        app.command(Command::Type('o'));
        app.command(Command::Back);
        assert_eq!((app.is_typing, &*app.filter), (false, ""));
    }

    #[test]
    fn the_opened_channel_stays_when_it_is_gone_and_a_pause_keeps_all() {
        let mut app = app(&[("a", 1.0)]);
        app.command(Command::Open);
        see(&mut app, &[]);
        assert_eq!((app.page, app.is_gone, app.opened().map(|row| &*row.service)), (Page::Detail, true, Some("a")));
        app.command(Command::Help);
        app.command(Command::Back);
        assert_eq!((app.page, app.opened().is_none()), (Page::Table, true));
        app.command(Command::Pause);
        see(&mut app, &[("b", 1.0)]);
        assert!(names(&app).is_empty());
        app.command(Command::Pause);
        see(&mut app, &[("b", 1.0)]);
        assert_eq!(names(&app), ["b"]);
    }

    #[test]
    fn sorting_goes_round_all_columns_both_ways() {
        let mut app = app(&[("a", 1.0)]);
        let first = app.sort;
        let mut seen = vec![first];
        loop {
            app.command(Command::SortNext);
            if app.sort == first {
                break;
            }
            seen.push(app.sort);
        }
        assert_eq!(seen.len(), Column::ALL.len());
        app.command(Command::SortPrevious);
        assert_eq!(app.sort, *seen.last().unwrap());
    }
}
