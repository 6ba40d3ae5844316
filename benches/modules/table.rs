//! What was measured: for each application a block, and JSON lines.

use std::fmt::Write;
use std::path::Path;

use crate::contender::Kind;

/// All blocks; the last is being filled.
#[derive(Default)]
pub struct Table {
    blocks: Vec<Block>,
}

#[derive(Default)]
struct Block {
    title: String,
    floor: Vec<f64>,
    lines: Vec<Line>,
    left_out: Vec<(Kind, String)>,
}

/// Of whom a line tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    pub kind: Kind,
    pub child: Child,
}

/// Which child of a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Child {
    First,
    Next,
    /// The one after, to which is sent ahead what the first had to ask for.
    Foreseen,
}

impl Child {
    /// Those that a contender has.
    pub fn of(kind: Kind) -> &'static [Child] {
        let all = &[Child::First, Child::Next, Child::Foreseen];
        if kind == Kind::Econtext { all } else { &all[..2] }
    }

    fn name(self) -> &'static str {
        match self {
            Child::First => "first child",
            Child::Next => "next child",
            Child::Foreseen => "preload list",
        }
    }
}

struct Line {
    row: Row,
    /// Seconds of each run, here and far away.
    times: [Vec<f64>; 2],
    /// Round trips, bytes down, modules asked for, modules sent.
    counts: Option<[f64; 4]>,
}

impl Table {
    pub fn begin(&mut self, title: &str) {
        self.blocks.push(Block { title: title.into(), ..Block::default() });
    }

    pub fn floor(&mut self, seconds: f64) {
        self.current().floor.push(seconds);
    }

    pub fn time(&mut self, row: Row, is_local: bool, seconds: f64) {
        self.line(row).times[usize::from(!is_local)].push(seconds);
    }

    pub fn count(&mut self, row: Row, counts: [f64; 4]) {
        let before = self.line(row).counts.get_or_insert(counts);
        // Only what a busy machine adds differs: where somebody sends so late that he might have waited.
        before.iter_mut().zip(counts).for_each(|(least, it)| *least = least.min(it));
    }

    pub fn leave_out(&mut self, kind: Kind, why: &str) {
        self.current().left_out.push((kind, why.into()));
    }

    pub fn failed(&self, kind: Kind) -> bool {
        self.blocks.iter().flat_map(|block| &block.left_out).any(|(it, _)| *it == kind)
    }

    fn current(&mut self) -> &mut Block {
        self.blocks.last_mut().expect("a block was begun")
    }

    fn line(&mut self, row: Row) -> &mut Line {
        let lines = &mut self.current().lines;
        let at = lines.iter().position(|line| line.row == row).unwrap_or(lines.len());
        if at == lines.len() {
            lines.push(Line { row, times: Default::default(), counts: None });
        }
        &mut lines[at]
    }

    /// The last block. Ratios are to the floor.
    pub fn block(&self) -> String {
        let Some(block) = self.blocks.last() else { return String::new() };
        let mut out = String::new();
        let floor = median(&block.floor);
        let told = floor.map_or("no floor".into(), |it| format!("{:.0} ms", it * 1e3));
        let _ = writeln!(out, "\n{}: {told} from the local disk, compiled", block.title);
        let _ = writeln!(
            out,
            "  {:22}{:>9}{:>7}{:>11}{:>7}{:>13}{:>10}{:>7}{:>6}",
            "",
            "local ms",
            "ratio",
            "20 ms, ms",
            "ratio",
            "round trips",
            "kB down",
            "asked",
            "sent"
        );
        for Line { row, times, counts } in &block.lines {
            let _ = write!(out, "  {:22}", row.name());
            for (times, width) in times.iter().zip([9, 11]) {
                let time = median(times);
                let shown = time.map_or("-".into(), |it| format!("{:.0}", it * 1e3));
                let ratio =
                    time.zip(floor).map_or("-".into(), |(it, floor)| format!("{:.2}", it / floor));
                let _ = write!(out, "{shown:>width$}{ratio:>7}");
            }
            if let Some([round_trips, bytes, asked, sent]) = counts {
                let _ = write!(out, "{round_trips:>13}{:>10.0}{asked:>7}{sent:>6}", bytes / 1e3);
            }
            out.push('\n');
        }
        for (kind, why) in &block.left_out {
            // A remote traceback is in it.
            let why: String = why.chars().take(130).collect();
            let _ = writeln!(out, "  left out: {}: {why}", kind.name());
        }
        out
    }

    /// Writes one JSON object a line: a floor, or a contender's child.
    pub fn write_json(&self, path: &Path) -> Result<(), String> {
        let number = |it: Option<f64>| it.map_or("null".to_string(), |it| it.to_string());
        let mut out = String::new();
        for block in &self.blocks {
            // The names are ours: Rust's way to quote them is also JSON's.
            let (title, floor) = (&block.title, number(median(&block.floor)));
            for Line { row, times: [local, far], counts } in &block.lines {
                let _ = write!(
                    out,
                    "{{\"application\": {title:?}, \"floor_s\": {floor}, \"contender\": {:?}, \"child\": {:?}, \
                     \"runs\": {}, \"local_s\": {}, \"far_s\": {}",
                    row.kind.name(),
                    row.child.name(),
                    local.len(),
                    number(median(local)),
                    number(median(far)),
                );
                if let Some([round_trips, bytes, asked, sent]) = counts {
                    let _ = write!(
                        out,
                        ", \"round_trips\": {round_trips}, \"bytes_down\": {bytes}, \
                         \"modules_asked\": {asked}, \"modules_sent\": {sent}"
                    );
                }
                out.push_str("}\n");
            }
        }
        std::fs::write(path, out).map_err(|error| format!("{}: {error}", path.display()))
    }
}

impl Row {
    fn name(self) -> String {
        format!("{}, {}", self.kind.name(), self.child.name())
    }
}

fn median(values: &[f64]) -> Option<f64> {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    values.get(values.len().checked_sub(1)? / 2).copied()
}
