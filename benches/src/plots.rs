//! Plots of measured values: latency percentiles, throughput by size, scaling by clients.

use std::{collections::BTreeMap, error::Error, fs, path::Path};

use plotters::prelude::*;

use crate::{
    report::median,
    rows::{self, Row},
};

const SIZE: (u32, u32) = (1000, 620);
/// Where names are long, they stand beside the plot and not over it.
const LEGEND: &str = "sans-serif";

/// Points of one engine.
type Series = BTreeMap<String, Vec<(f64, f64)>>;

/// What a plot is called, and what its axes are.
struct Axes<'a> {
    file: &'a str,
    title: &'a str,
    x: &'a str,
    y: &'a str,
}

/// Draws what the rows of a file have; returns which files it wrote.
pub(crate) fn draw(rows: &Path, into: &Path) -> Result<Vec<String>, Box<dyn Error>> {
    let rows = rows::read(rows)?;
    fs::create_dir_all(into)?;
    let plots = [
        (
            Axes {
                file: "latency.svg",
                title: "Round trip of 64 B: share of calls that take longer",
                x: "one in so many calls",
                y: "ns",
            },
            latency(&rows),
        ),
        (
            Axes { file: "throughput.svg", title: "One way: bytes per second by size", x: "payload, B", y: "B/s" },
            throughput(&rows),
        ),
        (
            Axes {
                file: "clients.svg",
                title: "Requests per second of 64 B by client processes",
                x: "client processes",
                y: "requests/s",
            },
            clients(&rows),
        ),
    ];
    let mut written = Vec::new();
    for (axes, series) in plots {
        if series.is_empty() {
            continue;
        }
        chart(&into.join(axes.file), &axes, &series)?;
        written.push(axes.file.to_owned());
    }
    Ok(written)
}

/// Medians over the runs, by where `place` puts a row.
fn medians(rows: &[Row], place: impl Fn(&Row) -> Option<(String, f64)>) -> Series {
    let mut values: BTreeMap<(String, u64), Vec<f64>> = BTreeMap::new();
    for row in rows {
        if let Some((engine, x)) = place(row) {
            values.entry((engine, x as u64)).or_default().push(row.value);
        }
    }
    let mut series = Series::new();
    for ((engine, x), values) in values {
        series.entry(engine).or_default().push((x as f64, median(values)));
    }
    series
}

fn latency(rows: &[Row]) -> Series {
    medians(rows, |row| {
        let of_calls = row.scenario == "rpc" && row.payload_bytes == 64 && !row.engine.contains("-rkyv-");
        let one_in = [("rtt_p50", 2.0), ("rtt_p99", 100.0), ("rtt_p999", 1000.0)];
        let (_, x) = one_in.into_iter().find(|(metric, _)| of_calls && *metric == row.metric)?;
        Some((row.engine.clone(), x))
    })
}

fn throughput(rows: &[Row]) -> Series {
    medians(rows, |row| {
        let fits = row.scenario == "stream" && row.metric == "bytes_per_s";
        fits.then(|| (row.engine.clone(), row.payload_bytes as f64))
    })
}

fn clients(rows: &[Row]) -> Series {
    let mut series = medians(rows, |row| {
        let fits = row.scenario == "clients" && row.metric == "requests_per_s" && row.payload_bytes == 64;
        let (engine, clients) = row.engine.rsplit_once('-').filter(|_| fits)?;
        Some((engine.to_owned(), clients.parse().ok()?))
    });
    series.retain(|_, points| points.len() > 1);
    series
}

/// Both axes are logarithmic: what differs tenfold is to look so.
fn chart(file: &Path, axes: &Axes<'_>, series: &Series) -> Result<(), Box<dyn Error>> {
    let points = || series.values().flatten().copied();
    let range = |of: fn((f64, f64)) -> f64| {
        let (low, high) =
            points().map(of).fold((f64::MAX, 0f64), |(low, high), value| (low.min(value), high.max(value)));
        (low.max(1.0), high.max(low + 1.0))
    };
    let ((x_low, x_high), (y_low, y_high)) = (range(|point| point.0), range(|point| point.1));
    let root = SVGBackend::new(file, SIZE).into_drawing_area();
    root.fill(&WHITE)?;
    let (plot, legend) = root.split_horizontally(SIZE.0 - 270);
    let mut chart = ChartBuilder::on(&plot)
        .caption(axes.title, (LEGEND, 20))
        .margin(10)
        .x_label_area_size(45)
        .y_label_area_size(80)
        .build_cartesian_2d((x_low..x_high).log_scale(), (y_low / 1.5..y_high * 1.5).log_scale())?;
    chart.configure_mesh().x_desc(axes.x).y_desc(axes.y).draw()?;
    for (index, (name, points)) in series.iter().enumerate() {
        let colour = HSLColor(index as f64 / series.len() as f64, 0.8, if index % 2 == 0 { 0.35 } else { 0.55 });
        let width = if name.starts_with("strait-") { 3 } else { 1 };
        let style = colour.stroke_width(width);
        chart.draw_series(LineSeries::new(points.iter().copied(), style))?;
        chart.draw_series(points.iter().map(|point| Circle::new(*point, 3, colour.filled())))?;
        let y = 50 + 20 * index as i32;
        legend.draw(&PathElement::new([(5, y), (30, y)], style))?;
        legend.draw(&Text::new(name.clone(), (36, y - 7), (LEGEND, 14)))?;
    }
    root.present()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_of_three_scenarios_make_three_plots() {
        let dir = std::env::temp_dir().join(format!("strait-bench-plots-{}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        let row = |scenario: &str, engine: &str, bytes: usize, metric: &str, value: f64| {
            let of = serde_json::json!({"scenario": scenario, "engine": engine, "payload_bytes": bytes,
                "metric": metric, "value": value, "unit": "", "run": 1});
            format!("{of}\n")
        };
        let rows = [
            row("rpc", "strait-shm-blocking", 64, "rtt_p50", 400.0),
            row("rpc", "strait-shm-blocking", 64, "rtt_p99", 900.0),
            row("stream", "unix-stream", 64, "bytes_per_s", 1e8),
            row("stream", "unix-stream", 1024, "bytes_per_s", 1e9),
            row("clients", "unix-stream-1", 64, "requests_per_s", 5e4),
            row("clients", "unix-stream-16", 64, "requests_per_s", 9e4),
        ];
        fs::write(dir.join("rows"), rows.concat()).unwrap();
        let written = draw(&dir.join("rows"), &dir).unwrap();
        let latency = fs::read_to_string(dir.join("latency.svg")).unwrap();
        fs::remove_dir_all(&dir).unwrap();
        assert_eq!(written, ["latency.svg", "throughput.svg", "clients.svg"]);
        assert!(latency.contains("strait-shm-blocking") && latency.contains("polyline"));
    }
}
