//! The page as another parser (html5ever, as in a browser) reads it.

use html5ever::tendril::TendrilSink;
use html5ever::{ParseOpts, parse_document};
use markup5ever_rcdom::{Handle, NodeData, RcDom};

/// A page that has been read.
pub(super) struct Page(RcDom);

/// An element of it.
#[derive(Clone)]
pub(super) struct Element(Handle);

impl Page {
    pub(super) fn parse(text: &str) -> Self {
        Self(parse_document(RcDom::default(), ParseOpts::default()).one(text))
    }

    /// What is no sound HTML in it.
    pub(super) fn errors(&self) -> Vec<String> {
        self.0.errors.borrow().iter().map(ToString::to_string).collect()
    }

    /// Every element, in order.
    pub(super) fn elements(&self) -> Vec<Element> {
        below(&self.0.document)
    }

    /// Every element of this name, in order.
    pub(super) fn all(&self, name: &str) -> Vec<Element> {
        self.elements().into_iter().filter(|element| element.name() == name).collect()
    }

    /// All text, also that of the head.
    pub(super) fn text(&self) -> String {
        text(&self.0.document)
    }
}

impl Element {
    pub(super) fn name(&self) -> String {
        match &self.0.data {
            NodeData::Element { name, .. } => name.local.to_string(),
            _ => String::new(),
        }
    }

    /// Its attributes with their values.
    pub(super) fn attributes(&self) -> Vec<(String, String)> {
        match &self.0.data {
            NodeData::Element { attrs, .. } => attrs
                .borrow()
                .iter()
                .map(|attr| (attr.name.local.to_string(), attr.value.to_string()))
                .collect(),
            _ => Vec::new(),
        }
    }

    pub(super) fn attribute(&self, name: &str) -> Option<String> {
        self.attributes().into_iter().find(|(found, _)| found == name).map(|(_, value)| value)
    }

    /// Every element of this name within it, in order.
    pub(super) fn all(&self, name: &str) -> Vec<Element> {
        below(&self.0).into_iter().filter(|element| element.name() == name).collect()
    }

    /// The elements right in it.
    pub(super) fn children(&self) -> Vec<Element> {
        let children = self.0.children.borrow();
        let elements = children.iter().filter(|child| matches!(child.data, NodeData::Element { .. }));
        elements.cloned().map(Element).collect()
    }

    pub(super) fn text(&self) -> String {
        text(&self.0)
    }
}

fn below(node: &Handle) -> Vec<Element> {
    let mut found = Vec::new();
    for child in node.children.borrow().iter() {
        if matches!(child.data, NodeData::Element { .. }) {
            found.push(Element(child.clone()));
        }
        found.extend(below(child));
    }
    found
}

fn text(node: &Handle) -> String {
    match &node.data {
        NodeData::Text { contents } => contents.borrow().to_string(),
        _ => node.children.borrow().iter().map(text).collect(),
    }
}
