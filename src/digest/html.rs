//! The digest as one page: no script, no link to elsewhere, plots inside.
//!
//! Texts are escaped. An editor breaks this by putting one in without `escaped`.

use super::markdown::{repeat_text, seemed_text};
use super::{Deed, Digest, Repeat};
use crate::http::view::{distance, moment, number};
use crate::scores::svg::{colour, escaped, group};
use homeostat_model::Finding;
use std::fmt::Write as _;

const STYLE: &str = ":root{color-scheme:light dark}body{font:15px/1.45 system-ui,sans-serif;margin:0 auto;padding:0 12px 40px;max-width:960px}\
h1{font-size:1.4em}h2{font-size:1.1em;margin:1.6em 0 .4em}table{border-collapse:collapse;width:100%}\
td,th{text-align:left;vertical-align:top;padding:4px 10px 4px 0;border-bottom:1px solid #8884;overflow-wrap:anywhere}\
th{color:#888;font-size:.85em}.soft{color:#888}.fix{font-weight:600}code{font:13px ui-monospace,monospace}svg{max-width:100%;height:auto}";

fn table(page: &mut String, title: &str, columns: &[&str], rows: Vec<Vec<String>>) {
    if rows.is_empty() {
        return;
    }
    let _ = writeln!(page, "<h2>{}</h2>\n<table><tr>", escaped(title));
    for column in columns {
        let _ = write!(page, "<th>{}</th>", escaped(column));
    }
    page.push_str("</tr>\n");
    for row in rows {
        page.push_str("<tr>");
        for cell in row {
            let _ = write!(page, "<td>{}</td>", escaped(&cell));
        }
        page.push_str("</tr>\n");
    }
    page.push_str("</table>\n");
}

/// Scores per day, stacked by finding, as SVG.
fn bars(digest: &Digest) -> String {
    let (width, height, foot) = (900.0, 120.0, 30.0);
    let most = digest.days.iter().map(|day| day.scores.iter().sum::<u64>()).max().unwrap_or(0);
    if most == 0 || digest.days.is_empty() {
        return String::new();
    }
    let step = width / digest.days.len() as f64;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width:.0} {:.0}\" role=\"img\"><title>Scores per day</title>\n",
        height + foot
    );
    // With many days not every one has room for its name.
    let named = (80.0 / step).ceil().max(1.0) as usize;
    for (index, day) in digest.days.iter().enumerate() {
        let x = step * index as f64;
        let mut y = height;
        for (finding, count) in Finding::ALL.into_iter().zip(day.scores) {
            let tall = count as f64 / most as f64 * (height - 10.0);
            y -= tall;
            if count > 0 {
                let _ = writeln!(
                    svg,
                    "<rect x=\"{:.1}\" y=\"{y:.1}\" width=\"{:.1}\" height=\"{tall:.1}\" fill=\"{}\"><title>{} {count} {finding}</title></rect>",
                    x + step * 0.1,
                    step * 0.8,
                    colour(finding),
                    escaped(&day.day)
                );
            }
        }
        if index % named == 0 {
            let _ = writeln!(
                svg,
                "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\" font-size=\"11\" fill=\"#888\">{}</text>",
                x + step / 2.0,
                height + 18.0,
                escaped(&day.day)
            );
        }
    }
    svg + "</svg>\n"
}

fn deeds(deeds: &[Deed], more: impl Fn(&Deed) -> String) -> Vec<Vec<String>> {
    let row = |deed: &Deed| {
        vec![format!("{} on {}", deed.verb, deed.target), format!("{}×", deed.times), deed.policy.clone(), deed.action.clone(), more(deed)]
    };
    deeds.iter().map(row).collect()
}

fn repeats(repeats: &[Repeat]) -> Vec<Vec<String>> {
    let row = |line: &Repeat| {
        let week = number((line.per_week * 10.0).round() / 10.0);
        vec![format!("{} on {}", line.verb, line.target), repeat_text(line), format!("{week} a week"), line.fix.clone()]
    };
    repeats.iter().map(row).collect()
}

impl Digest {
    /// As one page of HTML.
    pub fn html(&self) -> String {
        let title = format!("Homeostat, {} to {}", self.since_day, self.day);
        let mut page = format!(
            "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
             <title>{0}</title><style>{STYLE}</style></head><body>\n<h1>{0}</h1>\n<p>{1}</p>\n{2}",
            escaped(&title),
            escaped(&self.figures()),
            bars(self)
        );
        let columns = ["what", "times", "policy", "newest", "what it did"];
        let told = |deed: &Deed| deed.text.clone();
        table(&mut page, "Harmed", &columns, deeds(&self.harmed, told));
        table(&mut page, "Healed", &columns, deeds(&self.healed, told));
        let seemed = |deed: &Deed| format!("{}. {}", seemed_text(deed), deed.text);
        table(&mut page, "Only seemed healed", &columns, deeds(&self.seemed, seemed));
        table(&mut page, "In vain, or not to be told", &columns, deeds(&self.in_vain, told));
        table(&mut page, "Keeps coming back", &["what", "how often", "rate", "one lasting fix"], repeats(&self.repeated));
        table(
            &mut page,
            "Masked: treated so often that the fault is hidden",
            &["what", "how often", "rate", "one lasting fix"],
            repeats(&self.masked),
        );
        for (kind, title) in [("autonomy", "Autonomy"), ("drill", "Drills"), ("rhythm", "Rhythms")] {
            let moves = self.moves.iter().filter(|line| line.kind == kind);
            let rows = moves.map(|line| vec![moment(line.at), line.about.clone(), line.what.clone(), line.evidence.clone()]);
            table(&mut page, title, &["when", "about", "what", "evidence"], rows.collect());
        }
        table(&mut page, "Energy and money", &["spent"], self.cost().into_iter().map(|line| vec![line]).collect());
        let locks = self.locks.iter().map(|lock| {
            let how = if lock.is_locked { lock.unlock.clone() } else { "passes by itself".into() };
            vec![lock.about.clone(), lock.kind.clone(), distance(self.at, lock.since), lock.why.clone(), how]
        });
        table(&mut page, "Held back", &["about", "by", "since", "why", "how it ends"], locks.collect());
        if !self.series.is_empty() {
            page.push_str("<h2>Effects</h2>\n<p class=\"soft\">What came minus what would have come without the action, 95 %.</p>\n");
            self.series.iter().for_each(|series| page.push_str(&group(series)));
        }
        page + "</body></html>\n"
    }
}
