//! The table that a probe prints.

use super::answer::Verdict;

const HEAD: [&str; 6] = ["NODE", "RESULT", "CHAIN", "METHODS", "CLOCK", "CLIENT"];

/// A line for each node, then what is wrong with which.
pub(super) fn render(names: &[&str], verdicts: &[Verdict]) -> String {
    let mut rows = vec![HEAD.map(str::to_owned)];
    let mut remarks = String::new();
    for (name, verdict) in names.iter().zip(verdicts) {
        let answers = &verdict.answers;
        let result = match (&verdict.wrong, &verdict.odd) {
            (Some(_), _) => "FAILED",
            (None, Some(_)) => "warning",
            (None, None) => "ok",
        };
        let or_dash = |cell: Option<String>| cell.unwrap_or_else(|| "-".to_owned());
        rows.push([
            (*name).to_owned(),
            result.to_owned(),
            or_dash(answers.chain.map(|chain| chain.to_string())),
            or_dash(answers.methods.as_ref().map(|methods| methods.len().to_string())),
            or_dash(answers.skew.map(|skew| format!("{skew:+}s"))),
            or_dash(answers.client.clone()),
        ]);
        for remark in verdict.wrong.iter().map(|wrong| &wrong.what).chain(&verdict.odd) {
            remarks.push_str(&format!("{name}: {remark}\n"));
        }
    }
    let mut text = String::new();
    for row in &rows {
        let mut line = String::new();
        for (column, cell) in row.iter().enumerate() {
            let width = rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
            line.push_str(&format!("{cell:width$}  "));
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text + &remarks
}
