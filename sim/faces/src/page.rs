//! A page of metrics in the text format 0.0.4, as the Go client writes it.
//!
//! Deliberately absent: what stands on it. An editor breaks this by writing a family in two places of one page, or a number in a way
//! that Go's parser does not read.

use std::fmt::Write;

/// What a page is, for `Content-Type`.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// A page under way.
#[derive(Debug, Default)]
pub(crate) struct Page {
    text: String,
    name: &'static str,
}

impl Page {
    /// Begins a family; the samples that follow belong to it.
    pub(crate) fn family(&mut self, name: &'static str, kind: &'static str, help: &str) -> &mut Page {
        let _ = writeln!(self.text, "# HELP {name} {help}\n# TYPE {name} {kind}");
        self.name = name;
        self
    }

    pub(crate) fn gauge(&mut self, name: &'static str, help: &str) -> &mut Page {
        self.family(name, "gauge", help)
    }

    pub(crate) fn counter(&mut self, name: &'static str, help: &str) -> &mut Page {
        self.family(name, "counter", help)
    }

    /// One sample of the family that was begun last.
    pub(crate) fn put(&mut self, labels: &[(&str, &str)], value: f64) -> &mut Page {
        self.text.push_str(self.name);
        for (index, (name, text)) in labels.iter().enumerate() {
            let _ = write!(self.text, "{}{name}=\"", if index == 0 { '{' } else { ',' });
            for c in text.chars() {
                match c {
                    '\\' => self.text.push_str("\\\\"),
                    '"' => self.text.push_str("\\\""),
                    '\n' => self.text.push_str("\\n"),
                    c => self.text.push(c),
                }
            }
            self.text.push('"');
        }
        if !labels.is_empty() {
            self.text.push('}');
        }
        self.text.push(' ');
        number(&mut self.text, value);
        self.text.push('\n');
        self
    }

    pub(crate) fn finish(self) -> String {
        self.text
    }
}

/// Go's `strconv.AppendFloat(f, 'g', -1, 64)`: the shortest digits, with an exponent below 1e-4 and from 1e+06 on, unless the digits
/// reach further (`1.7952178626191e+09`; whole numbers too).
fn number(into: &mut String, value: f64) {
    if value.is_nan() {
        into.push_str("NaN");
    } else if value.is_infinite() {
        into.push_str(if value > 0.0 { "+Inf" } else { "-Inf" });
    } else {
        let scientific = format!("{value:e}");
        let (digits, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
        let power: i32 = exponent.parse().unwrap_or(0);
        // Go decides by 21 digits only for %v; for 'g' with the shortest precision the bound is 6.
        let _ = if value != 0.0 && !(-4..6).contains(&power) {
            write!(into, "{digits}e{}{:02}", if power < 0 { '-' } else { '+' }, power.abs())
        } else {
            write!(into, "{value}")
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_as_go_writes_them() {
        let shown = |value: f64| {
            let mut text = String::new();
            number(&mut text, value);
            text
        };
        // Left: real pages of node_exporter 1.5.
        for (text, value) in [
            ("2.46617e+06", 2_466_170.0),
            ("1144", 1144.0),
            ("510.99", 510.99),
            ("1.7952178626191e+09", 1_795_217_862.619_1),
            ("2.4623e-05", 0.000_024_623),
            ("0.000108979", 0.000_108_979),
            ("0", 0.0),
            ("-6.21355968e+10", -62_135_596_800.0),
            ("NaN", f64::NAN),
            ("+Inf", f64::INFINITY),
        ] {
            assert_eq!(shown(value), text);
        }
    }

    #[test]
    fn labels_are_escaped() {
        let mut page = Page::default();
        page.gauge("a", "A thing.").put(&[("x", "1\"2\\3\n4"), ("y", "")], 1.0);
        assert_eq!(page.finish(), "# HELP a A thing.\n# TYPE a gauge\na{x=\"1\\\"2\\\\3\\n4\",y=\"\"} 1\n");
    }
}
