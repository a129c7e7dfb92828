//! The graph as DOT, Mermaid and SVG. Same input, same bytes.
//!
//! The layout of the SVG is our own: four columns in the direction of the loop (metrics that are read, policies, verbs, metrics that
//! are moved), rows by name, a metric on both sides where a loop closes. An editor breaks this by leaving a name unescaped.

use super::{Edge, Loops, Node, Sign};
use petgraph::graph::NodeIndex;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

/// In which form.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Format {
    /// For Graphviz.
    Dot,
    /// For Markdown.
    Mermaid,
    /// To look at.
    Svg,
}

impl std::str::FromStr for Format {
    type Err = String;
    fn from_str(text: &str) -> Result<Format, String> {
        match text {
            "dot" => Ok(Format::Dot),
            "mermaid" => Ok(Format::Mermaid),
            "svg" => Ok(Format::Svg),
            _ => Err(format!("`{text}` is no form of a graph: expected dot, mermaid or svg")),
        }
    }
}

/// Draws it.
pub fn draw(loops: &Loops, format: Format) -> String {
    match format {
        Format::Dot => dot(loops),
        Format::Mermaid => mermaid(loops),
        Format::Svg => svg(loops),
    }
}

fn sorted(loops: &Loops) -> Vec<(NodeIndex, &Node)> {
    let mut nodes: Vec<(NodeIndex, &Node)> =
        loops.graph.node_indices().filter_map(|index| Some((index, loops.graph.node_weight(index)?))).collect();
    nodes.sort_by_key(|(_, node)| *node);
    nodes
}

fn word(edge: &Edge) -> &'static str {
    match edge {
        Edge::Reads => "",
        Edge::Wishes => "wishes",
        Edge::Moves(sign, _) => sign.name(),
    }
}

fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

fn dot(loops: &Loops) -> String {
    let mut text = String::from("digraph homeostat {\n  rankdir=LR;\n  node [fontname=\"sans-serif\"];\n");
    let id = |node: &Node| match node {
        Node::Metric(name) => quoted(&format!("metric {name}")),
        Node::Policy(name) => quoted(&format!("policy {name}")),
        Node::Verb(name) => quoted(&format!("verb {name}")),
    };
    for (index, node) in sorted(loops) {
        let shape = match node {
            Node::Metric(_) => "ellipse",
            Node::Policy(_) => "box",
            Node::Verb(_) => "cds",
        };
        let colour = if loops.on_cycle.contains(&index) { ", color=red" } else { "" };
        let _ = writeln!(text, "  {} [label={}, shape={shape}{colour}];", id(node), quoted(node.name()));
    }
    for (from, edge, to) in loops.edges() {
        let label = if word(edge).is_empty() { String::new() } else { format!(" [label=\"{}\"]", word(edge)) };
        let _ = writeln!(text, "  {} -> {}{label};", id(from), id(to));
    }
    text.push_str("}\n");
    text
}

fn mermaid(loops: &Loops) -> String {
    let mut text = String::from("flowchart LR\n");
    let nodes = sorted(loops);
    let ids: BTreeMap<&Node, usize> = nodes.iter().enumerate().map(|(number, (_, node))| (*node, number)).collect();
    for (index, node) in &nodes {
        // Mermaid knows no escape but its own entities.
        let name = node.name().replace('#', "#35;").replace('"', "#quot;");
        let (open, close) = match node {
            Node::Metric(_) => ("([", "])"),
            Node::Policy(_) => ("[", "]"),
            Node::Verb(_) => ("{{", "}}"),
        };
        let class = if loops.on_cycle.contains(index) { ":::loop" } else { "" };
        let _ = writeln!(text, "  n{}{open}\"{name}\"{close}{class}", ids[node]);
    }
    for (from, edge, to) in loops.edges() {
        let label = if word(edge).is_empty() { String::new() } else { format!("|{}|", word(edge)) };
        let _ = writeln!(text, "  n{} -->{label} n{}", ids[from], ids[to]);
    }
    text.push_str("  classDef loop stroke:#c00,stroke-width:2px\n");
    text
}

/// Heights and widths of the SVG, in pixels.
const ROW: usize = 34;
const BOX: (usize, usize) = (230, 24);
const GAP: usize = 110;

fn svg(loops: &Loops) -> String {
    let edges = loops.edges();
    let read: BTreeSet<&Node> = edges.iter().filter(|(_, edge, _)| matches!(edge, Edge::Reads)).map(|(from, ..)| *from).collect();
    let moved: BTreeSet<&Node> = edges.iter().filter(|(_, edge, _)| matches!(edge, Edge::Moves(..))).map(|(.., to)| *to).collect();
    let of = |pick: fn(&Node) -> bool| sorted(loops).into_iter().map(|(_, node)| node).filter(|node| pick(node)).collect::<Vec<_>>();
    let columns: [Vec<&Node>; 4] = [
        read.into_iter().collect(),
        of(|node| matches!(node, Node::Policy(_))),
        of(|node| matches!(node, Node::Verb(_))),
        moved.into_iter().collect(),
    ];
    let rows = columns.iter().map(Vec::len).max().unwrap_or(0).max(1);
    let (width, height) = (40 + 4 * BOX.0 + 3 * GAP, 70 + rows * ROW);
    let mut text = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" height=\"{height}\" font-family=\"sans-serif\" font-size=\"12\">\n\
         <title>Loops: metric, policy, verb, metric</title>\n\
         <style>.box{{fill:#fff;stroke:#555}}.loop{{stroke:#c00;stroke-width:2}}.edge{{fill:none;stroke:#999}}.edge.loop{{stroke:#c00}}text{{fill:#222}}.head{{fill:#777}}</style>\n\
         <rect width=\"{width}\" height=\"{height}\" fill=\"#fafafa\"/>\n"
    );
    let mut places: [BTreeMap<&Node, (usize, usize)>; 4] = Default::default();
    for (column, (nodes, head)) in columns.iter().zip(["is read", "policy", "verb", "is moved"]).enumerate() {
        let x = 20 + column * (BOX.0 + GAP);
        let _ = writeln!(text, "<text class=\"head\" x=\"{x}\" y=\"24\">{head}</text>");
        // The shorter columns stand in the middle.
        let top = 40 + (rows - nodes.len()) * ROW / 2;
        for (row, node) in nodes.iter().enumerate() {
            places[column].insert(node, (x, top + row * ROW));
        }
    }
    let cyclic: BTreeSet<&Node> = loops.on_cycle.iter().filter_map(|index| loops.graph.node_weight(*index)).collect();
    for (from, edge, to) in &edges {
        let column = match edge {
            Edge::Reads => 0,
            Edge::Wishes => 1,
            Edge::Moves(..) => 2,
        };
        let (Some((x1, y1)), Some((x2, y2))) = (places[column].get(from), places[column + 1].get(to)) else { continue };
        let (x1, y1, y2) = (x1 + BOX.0, y1 + BOX.1 / 2, y2 + BOX.1 / 2);
        let class = if cyclic.contains(from) && cyclic.contains(to) { "edge loop" } else { "edge" };
        let middle = (x1 + x2) / 2;
        let _ = writeln!(text, "<path class=\"{class}\" d=\"M{x1} {y1} C{middle} {y1} {middle} {y2} {x2} {y2}\"/>");
        if let Edge::Moves(sign, _) = edge {
            let mark = match sign {
                Sign::Raises => "+",
                Sign::Lowers => "−",
                Sign::Either => "±",
            };
            let _ = writeln!(text, "<text x=\"{}\" y=\"{}\">{mark}</text>", x2 - 12, y2.saturating_sub(3));
        }
    }
    for (node, (x, y)) in places.iter().flatten() {
        let class = if cyclic.contains(node) { "box loop" } else { "box" };
        let name = escaped(node.name());
        let shown = if node.name().chars().count() > 34 {
            escaped(&node.name().chars().take(33).chain(['…']).collect::<String>())
        } else {
            name.clone()
        };
        let round = if matches!(node, Node::Metric(_)) { 12 } else { 2 };
        let _ = writeln!(
            text,
            "<rect class=\"{class}\" x=\"{x}\" y=\"{y}\" width=\"{}\" height=\"{}\" rx=\"{round}\"><title>{name}</title></rect><text x=\"{}\" y=\"{}\">{shown}</text>",
            BOX.0,
            BOX.1,
            x + 8,
            y + 16
        );
    }
    text.push_str("</svg>\n");
    text
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
