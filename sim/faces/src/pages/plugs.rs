//! The smart plugs' exporter: what each node draws at its socket, asleep or not.
//!
//! Deliberately absent: plugs whose feed is dead; they are gone from the page, as they are from the network. An editor breaks this by
//! taking the figure from the node's own exporter, which is silent while the node sleeps.

use crate::page::Page;
use homeostat_sim::plant::{Node, Plant, Power};

pub(crate) fn render(plant: &Plant) -> String {
    let mut page = Page::default();
    let powered = || plant.nodes.iter().filter(|node| node.power != Power::Unpowered);
    let each = |page: &mut Page, value: &dyn Fn(&Node) -> f64| {
        powered().for_each(|node| {
            page.put(&[("node", &node.name)], value(node));
        });
    };
    each(page.gauge("plug_power_watts", "What is drawn at the socket."), &|node| node.watts);
    each(page.counter("plug_energy_joules_total", "Energy drawn at the socket."), &|node| node.joules);
    page.finish()
}
