//! The sections of an exemption's document.

use crate::config::schema::{Section, Shape};

pub(super) static SECTIONS: [Section; 12] = [
    Section { path: "", shape: Shape::Root, meaning: "What is allowed, and how far." },
    Section {
        path: "instrument",
        shape: Shape::Table,
        meaning: "The legal act that the transfer rests on. The section is required.",
    },
    Section {
        path: "exporter",
        shape: Shape::Table,
        meaning: "Who sends, and answers for it. The section is required.",
    },
    Section {
        path: "assessment",
        shape: Shape::Table,
        meaning: "The transfer impact assessment. Every ground of Art. 46, 47 and 49 needs it.",
    },
    Section {
        path: "condition",
        shape: Shape::Table,
        meaning: "How the condition of the ground is met. Every ground of Art. 49, `data-act-32-3`, and `art-45` by a decision that excepts purposes need it.",
    },
    Section {
        path: "approval",
        shape: Shape::Table,
        meaning: "Who wrote the document, and whose signatures it needs.",
    },
    Section {
        path: "approval.required",
        shape: Shape::Entries,
        meaning: "A role whose signatures are needed, each role once. All of them must be there.",
    },
    Section {
        path: "recipient",
        shape: Shape::Entries,
        meaning: "Who may receive; at least one. No network can be in two of them.",
    },
    Section {
        path: "processor",
        shape: Shape::Entries,
        meaning: "A processor that takes part in the transfer (Art. 28).",
    },
    Section {
        path: "joint_controller",
        shape: Shape::Entries,
        meaning: "Who decides on purposes and means together with the exporter (Art. 26, Art. 30(1)(a)).",
    },
    Section {
        path: "onward",
        shape: Shape::Entries,
        meaning: "An onward transfer by a recipient that is known of (Art. 44).",
    },
    Section {
        path: "duty",
        shape: Shape::Entries,
        meaning: "What has to be done by a day. `borderguard exemption list --due` shows it until it is done.",
    },
];
