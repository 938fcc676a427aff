"use strict";
const answers = [...document.querySelectorAll(".to-mark")].map((section) => ({
  section,
  student: section.dataset.student,
  task: section.dataset.task,
  points: section.querySelector(".points"),
  comment: section.querySelector(".comment"),
}));
const keyOf = (answer) => JSON.stringify([document.querySelector("main").dataset.name, answer.student, answer.task]);

function sound(answer) {
  const text = answer.points.value.trim().replace(",", ".");
  if (text === "" || text === "-") return true;
  return /^(\d+\.?\d*|\.\d+)$/.test(text) && Number(text) <= Number(answer.points.dataset.of);
}

function show() {
  for (const { points, ...answer } of answers) points.setAttribute("aria-invalid", String(!sound({ points, ...answer })));
  const marked = answers.filter((answer) => answer.points.value.trim() !== "");
  const wrong = marked.filter((answer) => !sound(answer)).length;
  document.getElementById("done").textContent =
    `${marked.length} of ${answers.length} marked` + (wrong ? `; ${wrong} not a number within the maximum` : "");
}

function remember(answer) {
  try {
    localStorage.setItem(keyOf(answer), JSON.stringify([answer.points.value, answer.comment.value]));
  } catch {
    // A browser that stores nothing: what was typed is kept until the page is closed.
  }
  show();
}

answers.forEach((answer, place) => {
  try {
    const before = JSON.parse(localStorage.getItem(keyOf(answer)) ?? "null");
    if (Array.isArray(before)) [answer.points.value, answer.comment.value] = before;
  } catch {
    // As above.
  }
  for (const field of [answer.points, answer.comment]) {
    field.addEventListener("input", () => remember(answer));
    field.addEventListener("keydown", (event) => {
      if (event.key !== "Enter" || event.isComposing) return;
      event.preventDefault();
      const next = answers[place + (event.shiftKey ? -1 : 1)];
      if (!next) return document.getElementById("save").focus();
      next.points.focus({ preventScroll: true });
      next.section.scrollIntoView({ block: "start" });
    });
  }
});

document.getElementById("save").addEventListener("click", () => {
  const quoted = (text) => `"${text.replaceAll('"', '""')}"`;
  const rows = answers
    .filter((answer) => answer.points.value.trim() !== "")
    .map((answer) => [answer.student, answer.task, answer.points.value.trim(), answer.comment.value].map(quoted));
  const lines = ["student,task,points,comment", ...rows.map((row) => row.join(","))];
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob(["\ufeff", lines.join("\r\n"), "\r\n"], { type: "text/csv" }));
  link.download = "marks.csv";
  link.click();
  URL.revokeObjectURL(link.href);
});

show();
answers[0]?.points.focus({ preventScroll: true });
