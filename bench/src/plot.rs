//! Plots figures as SVG.

use std::path::Path;

use anyhow::{Result, anyhow};
use plotters::prelude::*;

use crate::etcd::{Comparison, Row};
use crate::failover;
use crate::load::{Interface, Work};

const SIZE: (u32, u32) = (1120, 800);
const FONT: &str = "sans-serif";

/// Colours that colour-blind people can distinguish (Okabe and Ito).
const fn colour(interface: Interface) -> RGBColor {
    match interface {
        Interface::Http => RGBColor(0, 114, 178),
        Interface::Grouped => RGBColor(0, 158, 115),
        Interface::Grpc => RGBColor(230, 159, 0),
    }
}

/// Plots throughput by number of clients, with a panel for each kind of load. Both axes are
/// logarithmic, to give equal ratios equal distances.
pub fn comparison(comparison: &Comparison, file: &Path) -> Result<()> {
    let root = SVGBackend::new(file, SIZE).into_drawing_area();
    root.fill(&WHITE).map_err(failed)?;
    let title = "Operations a second by clients, three servers on one machine";
    let root = root.titled(title, (FONT, 24)).map_err(failed)?;
    let panels = root.split_evenly((2, 2));
    for (panel, work) in panels.iter().zip(Work::ALL) {
        let rows: Vec<&Row> = comparison.rows.iter().filter(|row| row.work == work).collect();
        let all = rows.iter().flat_map(|row| row.rounds.values().flatten());
        let most = all.map(|it| it.throughput).fold(10.0, f64::max);
        let mut chart = ChartBuilder::on(panel)
            .caption(work.name(), (FONT, 18))
            .margin(10)
            .x_label_area_size(32)
            .y_label_area_size(64)
            .build_cartesian_2d((0.8..1500.0).log_scale(), (100.0..most * 2.0).log_scale())
            .map_err(failed)?;
        chart
            .configure_mesh()
            .x_desc("clients")
            .y_desc("operations/s")
            .label_style((FONT, 13))
            .x_label_formatter(&|clients| format!("{clients:.0}"))
            .y_label_formatter(&|throughput| format!("{throughput:.0}"))
            .draw()
            .map_err(failed)?;
        for interface in Interface::ALL.into_iter().filter(|interface| interface.can(work)) {
            let points: Vec<(f64, f64)> = rows
                .iter()
                .filter_map(|row| {
                    Some((row.clients as f64, row.median(interface, |it| it.throughput)?))
                })
                .collect();
            let style = colour(interface).stroke_width(3);
            let dots = points.iter().map(|point| Circle::new(*point, 4, style.filled()));
            chart.draw_series(dots).map_err(failed)?;
            chart
                .draw_series(LineSeries::new(points, style))
                .map_err(failed)?
                .label(interface.name())
                .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], style));
        }
        let mut legend = chart.configure_series_labels();
        legend.position(SeriesLabelPosition::LowerRight).label_font((FONT, 14));
        legend.background_style(WHITE.mix(0.8)).border_style(BLACK.mix(0.3));
        legend.draw().map_err(failed)?;
    }
    root.present().map_err(failed)
}

/// Plots the share of failovers that ended within each number of milliseconds.
pub fn failovers(report: &failover::Report, file: &Path) -> Result<()> {
    let root = SVGBackend::new(file, (900, 520)).into_drawing_area();
    root.fill(&WHITE).map_err(failed)?;
    let all = report.failovers.iter().flat_map(|row| &row.milliseconds);
    let most = all.copied().fold(100.0, f64::max);
    let mut chart = ChartBuilder::on(&root)
        .caption("Leader killed to first acknowledged write", (FONT, 24))
        .margin(16)
        .x_label_area_size(44)
        .y_label_area_size(64)
        .build_cartesian_2d(0.0..most * 1.05, 0.0..100.0)
        .map_err(failed)?;
    chart
        .configure_mesh()
        .x_desc("ms since the leader was killed")
        .y_desc("% of failovers that are over")
        .label_style((FONT, 14))
        .draw()
        .map_err(failed)?;
    for row in &report.failovers {
        let mut sorted = row.milliseconds.clone();
        sorted.sort_by(f64::total_cmp);
        let count = sorted.len() as f64;
        let steps = (1..).zip(sorted).flat_map(|(number, at)| {
            let number = f64::from(number);
            [(at, (number - 1.0) / count * 100.0), (at, number / count * 100.0)]
        });
        let style = colour(Interface::usual(row.contender)).stroke_width(3);
        chart
            .draw_series(LineSeries::new(steps, style))
            .map_err(failed)?
            .label(row.contender.name())
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], style));
    }
    let mut legend = chart.configure_series_labels();
    legend.position(SeriesLabelPosition::LowerRight).label_font((FONT, 16));
    legend.background_style(WHITE.mix(0.8)).border_style(BLACK.mix(0.3));
    legend.draw().map_err(failed)?;
    root.present().map_err(failed)
}

fn failed(error: impl std::fmt::Display) -> anyhow::Error {
    anyhow!("cannot draw: {error}")
}
