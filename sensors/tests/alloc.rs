//! The steady state of reading a page allocates nothing. A test binary of its own, since it counts every allocation.

use homeostat_model::{Observation, SensorId, Span, Time};
use homeostat_sensors::exposition::{Format, Numbering, PageMemo, SampleText};

/// Numbers series as they come.
struct Next(u32);

impl Numbering for Next {
    fn number(&mut self, _: &SampleText<'_, '_>, _: &mut Observation) -> Option<u32> {
        self.0 += 1;
        Some(self.0 - 1)
    }
    fn epoch(&self) -> u32 {
        0
    }
}

fn page(round: u64, format: Format) -> Vec<u8> {
    let mut page = String::new();
    for family in 0..40 {
        page.push_str(&format!("# HELP m{family} a metric\n# TYPE m{family} gauge\n"));
        for i in 0..25 {
            page.push_str(&format!("m{family}{{device=\"sd{i}\",mountpoint=\"/srv/{i}\"}} {}\n", (round * 7 + i) as f64 / 3.0));
        }
        page.push_str(&format!("stamped{family} {round} 1700000000\n"));
    }
    if format == Format::OpenMetrics {
        page.push_str("e_total 1 # {trace_id=\"x\"} 2\n# EOF\n");
    }
    page.into_bytes()
}

#[test]
fn a_known_page_is_read_without_allocating() {
    for format in [Format::Text, Format::OpenMetrics] {
        // Milliseconds in one format, seconds in the other.
        let now = Time(if format == Format::Text { 1_700_000_000 } else { 1_700_000_000_000 });
        let pages: Vec<Vec<u8>> = (100..110).map(|round| page(round, format)).collect();
        let (mut memo, mut numbers) = (PageMemo::new(), Next(0));
        let mut into = Observation::new(SensorId::from("x"), now, Span::from_secs(15));
        // The body's buffer is the caller's; the memo trades it for the last page's.
        let mut body = Vec::with_capacity(pages[0].len() * 2);
        for (round, page) in pages.iter().enumerate() {
            into.reset(now);
            let counted = allocation_counter::measure(|| {
                body.clear();
                body.extend_from_slice(page);
                let report = memo.read(&mut body, format, &mut numbers, &mut into);
                assert!(report.is_clean() && report.samples >= 1040, "{report:?}");
            });
            assert!(round < 3 || counted.count_total == 0, "round {round}: {counted:?}");
            body.reserve((pages[0].len() * 2).saturating_sub(body.capacity()));
        }
        assert_eq!(numbers.0 as usize, into.samples.len() + into.stamped.len());
    }
}
