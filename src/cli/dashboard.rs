//! The dashboard: losses, learning rate, gradient norm, speed, progress and time left, on burn-train's renderer trait
//! and ratatui. burn-train's own spins a whole core, swallows Ctrl-C and leaves the terminal raw after a signal.

use std::io::{self, Stderr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result};
use burn::train::Interrupter;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEvent, KeyModifiers};
use ratatui::crossterm::execute;
use ratatui::crossterm::terminal::{EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode};
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::prelude::{CrosstermBackend, Line, Span};
use ratatui::style::{Color, Style, Stylize};
use ratatui::symbols::Marker;
use ratatui::widgets::{Axis, Block, Chart, Dataset, Gauge, GraphType, Paragraph, Wrap};
use ratatui::{Frame, Terminal};

use super::progress::{Board, Curve, clock};
use crate::training::metrics::name;
use crate::training::monitor::Phase;

/// How often the screen is drawn and the keyboard read.
const TICK: Duration = Duration::from_millis(250);

/// Set while the terminal is ours.
static TERMINAL_TAKEN: AtomicBool = AtomicBool::new(false);

/// Gives the terminal back, if it was taken. Safe to call at any time, from any thread.
pub fn restore_terminal() {
    if TERMINAL_TAKEN.swap(false, Ordering::SeqCst) {
        let _ = disable_raw_mode();
        let _ = execute!(io::stderr(), LeaveAlternateScreen, ratatui::crossterm::cursor::Show);
    }
}

fn take_terminal() -> Result<Terminal<CrosstermBackend<Stderr>>> {
    enable_raw_mode().context("cannot take the terminal")?;
    TERMINAL_TAKEN.store(true, Ordering::SeqCst);
    let previous = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        restore_terminal();
        previous(panic);
    }));
    let entered = execute!(io::stderr(), EnterAlternateScreen).context("cannot take the terminal");
    let terminal = entered.and_then(|()| Ok(Terminal::new(CrosstermBackend::new(io::stderr()))?));
    if terminal.is_err() {
        restore_terminal();
    }
    terminal
}

/// A thread that draws until told to finish.
pub struct Dashboard {
    finished: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl Dashboard {
    pub fn start(board: Arc<Mutex<Board>>, interrupter: Interrupter) -> Result<Self> {
        let mut terminal = take_terminal()?;
        let finished = Arc::new(AtomicBool::new(false));
        let stop = finished.clone();
        let thread = std::thread::spawn(move || {
            while !stop.load(Ordering::Relaxed) {
                let board = board.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
                let drawn = terminal.draw(|frame| draw(frame, &board, interrupter.should_stop()));
                drop(board);
                // A terminal that is gone draws nothing more; training goes on.
                if drawn.is_err() || handle_keys(&interrupter).is_err() {
                    break;
                }
            }
        });
        Ok(Self { finished, thread })
    }

    /// Stops drawing and gives the terminal back.
    pub fn finish(self) {
        self.finished.store(true, Ordering::Relaxed);
        let _ = self.thread.join();
        restore_terminal();
    }
}

/// Waits up to a tick for keys. In raw mode Ctrl-C is a key like others.
fn handle_keys(interrupter: &Interrupter) -> io::Result<()> {
    if !event::poll(TICK)? {
        return Ok(());
    }
    if let Event::Key(KeyEvent { code, modifiers, .. }) = event::read()? {
        let ctrl_c = code == KeyCode::Char('c') && modifiers.contains(KeyModifiers::CONTROL);
        if ctrl_c && interrupter.should_stop() {
            restore_terminal();
            std::process::exit(130);
        }
        if ctrl_c || code == KeyCode::Char('q') {
            interrupter.stop(Some("stopped from the dashboard"));
        }
    }
    Ok(())
}

fn draw(frame: &mut Frame, board: &Board, stopping: bool) {
    let [header, progress, charts, notes, footer] = Layout::vertical([
        Constraint::Length(1),
        Constraint::Length(3),
        Constraint::Min(8),
        Constraint::Length(6),
        Constraint::Length(1),
    ])
    .areas(frame.area());
    let [losses, side] = Layout::horizontal([Constraint::Percentage(64), Constraint::Percentage(36)]).areas(charts);
    let [figures, rate, norm] =
        Layout::vertical([Constraint::Length(8), Constraint::Fill(1), Constraint::Fill(1)]).areas(side);

    frame.render_widget(
        Line::from(vec![" qwen-lora ".bold().reversed(), " ".into(), board.facts.title.clone().into()]),
        header,
    );
    draw_progress(frame, board, progress);
    let curve =
        |curves: &std::collections::HashMap<&'static str, Curve>, name| curves.get(name).cloned().unwrap_or_default();
    let (train, valid) = (curve(&board.train, name::LOSS), curve(&board.valid, name::LOSS));
    draw_chart(
        frame,
        board,
        losses,
        "loss",
        &[("training", &train, Color::Cyan), ("validation", &valid, Color::Yellow)],
    );
    draw_figures(frame, board, figures);
    draw_chart(frame, board, rate, "learning rate", &[("", &curve(&board.train, name::LEARNING_RATE), Color::Green)]);
    draw_chart(frame, board, norm, "gradient norm", &[("", &curve(&board.train, name::GRAD_NORM), Color::Magenta)]);

    let last: Vec<Line> = board.notes.iter().rev().take(4).rev().map(|note| Line::from(note.as_str())).collect();
    frame.render_widget(
        Paragraph::new(last).wrap(Wrap { trim: true }).block(Block::bordered().title(" events ")),
        notes,
    );
    let hint = if stopping {
        Span::from(" stopping after this step and saving; Ctrl-C again: stop at once ").yellow()
    } else {
        Span::from(" q or Ctrl-C: stop after this step and save a checkpoint ").dim()
    };
    frame.render_widget(Line::from(hint), footer);
}

fn draw_progress(frame: &mut Frame, board: &Board, area: Rect) {
    let total = board.facts.total_steps.max(1);
    let doing = match board.phase {
        Phase::Training { .. } => "training".to_string(),
        Phase::Evaluating { done, total } => format!("evaluating {done}/{total}"),
        Phase::Saving => "saving".to_string(),
    };
    let left = board.time_left().map(|left| format!(", {} left", clock(left))).unwrap_or_default();
    let label = format!("step {} of {total}, {} gone{left}", board.step, clock(board.started.elapsed()));
    let gauge = Gauge::default()
        .block(Block::bordered().title(format!(" {doing} ")))
        .gauge_style(Style::new().fg(Color::Blue))
        .ratio((board.step as f64 / total as f64).clamp(0.0, 1.0))
        .label(label);
    frame.render_widget(gauge, area);
}

fn draw_figures(frame: &mut Frame, board: &Board, area: Rect) {
    let train = |name| Board::latest(&board.train, name);
    let valid = |name| Board::latest(&board.valid, name);
    let number = |value: Option<f64>, decimals: usize| match value {
        Some(value) if value.is_finite() => format!("{value:.decimals$}"),
        Some(value) => value.to_string(),
        None => "-".into(),
    };
    let row = |what: &str, value: String| Line::from(vec![format!("{what:<20}").dim(), value.into()]);
    let accuracy = valid(name::TOKEN_ACCURACY).map(|share| 100.0 * share);
    let lines = vec![
        row("training loss", number(train(name::LOSS), 4)),
        row("validation loss", number(valid(name::LOSS), 4)),
        row("token accuracy %", number(accuracy, 1)),
        row("epoch", number(train(name::EPOCH), 2)),
        row("learning rate", train(name::LEARNING_RATE).map_or("-".into(), |rate| format!("{rate:.2e}"))),
        row("label tokens/s", number(train(name::LABEL_TOKENS_PER_S).filter(|speed| speed.is_finite()), 0)),
    ];
    frame.render_widget(Paragraph::new(lines).block(Block::bordered().title(" figures ")), area);
}

fn draw_chart(frame: &mut Frame, board: &Board, area: Rect, title: &str, curves: &[(&str, &Curve, Color)]) {
    let finite: Vec<f64> = curves.iter().flat_map(|c| c.1.iter().map(|p| p.1)).filter(|v| v.is_finite()).collect();
    let (low, high) = finite.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), v| (l.min(*v), h.max(*v)));
    let (low, high) = if finite.is_empty() { (0.0, 1.0) } else { (low, high) };
    let margin = ((high - low) * 0.05).max(high.abs() * 1e-3).max(1e-12);
    let y = [low - margin, high + margin];
    let x = [0.0, board.facts.total_steps.max(1) as f64];
    let datasets = curves
        .iter()
        .map(|(name, curve, color)| {
            Dataset::default()
                .name(*name)
                .marker(Marker::Braille)
                .graph_type(GraphType::Line)
                .style(Style::new().fg(*color))
                .data(curve)
        })
        .collect();
    let label =
        |value: f64| if value != 0.0 && value.abs() < 1e-2 { format!("{value:.1e}") } else { format!("{value:.3}") };
    let chart = Chart::new(datasets)
        .block(Block::bordered().title(format!(" {title} ")))
        .x_axis(Axis::default().bounds(x).labels(["0".to_string(), board.facts.total_steps.to_string()]))
        .y_axis(Axis::default().bounds(y).labels([label(low), label(high)]));
    frame.render_widget(chart, area);
}
