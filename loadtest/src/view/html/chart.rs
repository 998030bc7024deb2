//! The geometry of a chart over time.

use serde::Serialize;

/// The size of a chart, and the room around what it plots.
const WIDTH: f64 = 640.0;
const HEIGHT: f64 = 240.0;
const LEFT: f64 = 64.0;
const RIGHT: f64 = 12.0;
const TOP: f64 = 10.0;
const BOTTOM: f64 = 26.0;

/// A chart, ready to be drawn.
#[derive(Debug, Serialize)]
pub(super) struct Chart {
    title: String,
    /// What a screen reader says.
    words: String,
    width: f64,
    height: f64,
    left: f64,
    right: f64,
    bottom: f64,
    x: Vec<Tick>,
    y: Vec<Tick>,
    shapes: Vec<Shape>,
}

/// A mark on an axis.
#[derive(Debug, Serialize)]
struct Tick {
    at: String,
    label: String,
}

/// An area or a line.
#[derive(Debug, Serialize)]
struct Shape {
    name: String,
    /// Its colour's number.
    colour: usize,
    area: bool,
    path: String,
}

/// Numbers over time.
pub(super) struct Plot<'a> {
    pub(super) title: &'a str,
    pub(super) words: String,
    /// Seconds from one number to the next, and of the whole.
    pub(super) every: f64,
    pub(super) seconds: f64,
    /// Lists that are put on top of one another, or drawn as lines each from zero.
    pub(super) stacked: bool,
    /// Name, colour and numbers of each.
    pub(super) lists: Vec<(&'a str, usize, Vec<f64>)>,
    /// The label of a number.
    pub(super) label: fn(f64) -> String,
}

impl Chart {
    /// `None` where there is nothing to be seen.
    pub(super) fn of(plot: Plot<'_>) -> Option<Self> {
        let Plot { every, stacked, .. } = plot;
        let mut below: Vec<f64> = Vec::new();
        let mut bands: Vec<(&str, usize, Vec<f64>, Vec<f64>)> = Vec::new();
        for (name, colour, numbers) in plot.lists {
            below.resize(below.len().max(numbers.len()), 0.0);
            let base = if stacked { below.clone() } else { Vec::new() };
            let upper: Vec<f64> = if stacked {
                numbers.iter().zip(&base).map(|(n, b)| n + b).collect()
            } else {
                numbers
            };
            below.clone_from(&upper);
            bands.push((name, colour, base, upper));
        }
        let numbers = bands.iter().flat_map(|(_, _, _, upper)| upper);
        let most = numbers.copied().fold(0.0, f64::max);
        if most <= 0.0 {
            return None;
        }
        let y_step = step(most / 4.0);
        let top = (most / y_step).ceil() * y_step;
        let seconds = plot.seconds.max(every);
        let x = |time: f64| LEFT + (WIDTH - LEFT - RIGHT) * (time / seconds).min(1.0);
        let y = |number: f64| HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * (number / top);
        // What moved within a stretch stands in its middle; how many there were, at its end.
        let within = if stacked { 0.5 } else { 1.0 };
        let line = |numbers: &[f64]| -> Vec<String> {
            let points = numbers.iter().enumerate().map(|(place, number)| {
                let time = every * (place as f64 + within);
                format!("{:.1} {:.1}", x(time), y(*number))
            });
            points.collect()
        };
        let shapes = bands.iter().map(|(name, colour, base, upper)| {
            let mut points = line(upper);
            if stacked {
                points.extend(line(base).into_iter().rev());
            } else {
                points.insert(0, format!("{:.1} {:.1}", x(0.0), y(0.0)));
            }
            let end = if stacked { "Z" } else { "" };
            Shape {
                name: (*name).to_owned(),
                colour: *colour,
                area: stacked,
                path: format!("M{}{end}", points.join("L")),
            }
        });
        Some(Self {
            title: plot.title.to_owned(),
            words: plot.words,
            width: WIDTH,
            height: HEIGHT,
            left: LEFT,
            right: WIDTH - RIGHT,
            bottom: HEIGHT - BOTTOM,
            x: ticks(seconds, step(seconds / 6.0), x, |time| format!("{time} s")),
            y: ticks(top, y_step, y, plot.label),
            shapes: shapes.collect(),
        })
    }
}

fn ticks(
    most: f64,
    step: f64,
    place: impl Fn(f64) -> f64,
    label: impl Fn(f64) -> String,
) -> Vec<Tick> {
    let steps = (most / step * (1.0 + 1e-9)).floor() as u32;
    let ticks = (0..=steps).map(|number| {
        let value = (f64::from(number) * step * 1e6).round() / 1e6;
        Tick {
            at: format!("{:.1}", place(value)),
            label: if number == 0 {
                "0".to_owned()
            } else {
                label(value)
            },
        }
    });
    ticks.collect()
}

/// The next larger of 1, 2 and 5 times a power of ten.
fn step(least: f64) -> f64 {
    let power = 10_f64.powf(least.max(1e-3).log10().floor());
    let fitting = [1.0, 2.0, 5.0].map(|times| times * power);
    let found = fitting
        .into_iter()
        .find(|step| *step >= least * (1.0 - 1e-9));
    found.unwrap_or(10.0 * power)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plot(stacked: bool, lists: Vec<(&'static str, usize, Vec<f64>)>) -> Option<Chart> {
        Chart::of(Plot {
            title: "Rate",
            words: String::new(),
            every: 1.0,
            seconds: 2.0,
            stacked,
            lists,
            label: |number| number.to_string(),
        })
    }

    #[test]
    fn steps_are_round() {
        for (least, expected) in [
            (0.25, 0.5),
            (0.3, 0.5),
            (1.0, 1.0),
            (6.1, 10.0),
            (120.0, 200.0),
        ] {
            assert!(
                (step(least) - expected).abs() < 1e-9,
                "{least}: {}",
                step(least)
            );
        }
    }

    #[test]
    fn lists_are_put_on_top_of_one_another() {
        let lists = vec![("a", 0, vec![10.0, 0.0]), ("b", 1, vec![10.0, 20.0])];
        let chart = plot(true, lists).unwrap();
        // The plot is 564 wide and 204 high: 20 is its top.
        assert_eq!(
            chart.shapes[0].path,
            "M205.0 112.0L487.0 214.0L487.0 214.0L205.0 214.0Z"
        );
        assert_eq!(
            chart.shapes[1].path,
            "M205.0 10.0L487.0 10.0L487.0 214.0L205.0 112.0Z"
        );
        let labels: Vec<&str> = chart.y.iter().map(|tick| tick.label.as_str()).collect();
        assert_eq!(labels, ["0", "5", "10", "15", "20"]);
    }

    #[test]
    fn lines_begin_at_zero_each() {
        let lists = vec![("a", 0, vec![10.0, 20.0]), ("b", 1, vec![10.0, 20.0])];
        let chart = plot(false, lists).unwrap();
        assert_eq!(chart.shapes[0].path, "M64.0 214.0L346.0 112.0L628.0 10.0");
        assert_eq!(chart.shapes[1].path, chart.shapes[0].path);
        let labels: Vec<&str> = chart.x.iter().map(|tick| tick.label.as_str()).collect();
        assert_eq!(labels, ["0", "0.5 s", "1 s", "1.5 s", "2 s"]);
    }

    #[test]
    fn nothing_has_no_chart() {
        assert!(plot(true, Vec::new()).is_none());
        assert!(plot(false, vec![("a", 0, vec![0.0])]).is_none());
    }
}
