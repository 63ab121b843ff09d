// What files and people say is put into the page as text only, never as HTML.
const find = (selector) => element.querySelector(selector);
const show = (name) => find(`[data-show="${name}"]`);
const field = (name) => find(`[data-field="${name}"]`);
const COLORS = ["#d55e00", "#0072b2", "#009e73", "#cc79a7", "#b07a00", "#56b4e9"];
const STEP = 0.01;
let names = [], view = null, rows = [], selected = -1, history = [], zoom = 1, queue = Promise.resolve(), waiting = 0;
// Where a new box waits for its name.
let unnamed = null;

const make = (tag, text = "", properties = {}) => Object.assign(document.createElement(tag), { textContent: text }, properties);
const copy = (value) => JSON.parse(JSON.stringify(value));
const says = (text) => { show("status").textContent = text; };
const clamp = (value, low, high) => Math.min(high, Math.max(low, value));

// The model's opinion is hidden until the person has decided, or asks for it.
const isShown = () => ["verdict", "complete", "opinion_seen"].some((name) => view.annotation[name]);

// Rows of the list: what the person says is there, what the model proposes besides, and what the person rejected.
function listRows() {
  const { artifacts, rejected } = view.annotation;
  const mentioned = new Set([...artifacts.map((one) => one.label), ...rejected]);
  const proposals = (isShown() ? view.answer.artifacts || [] : []).filter((one) => !mentioned.has(one.label));
  return [
    ...artifacts.map((one, index) => ({ state: "accepted", index, ...one })),
    ...proposals.map((one) => ({ state: "proposed", ...one })),
    ...rejected.map((label) => ({ state: "rejected", label })),
  ];
}

function percent(box) {
  const { width, height } = view;
  const sides = { left: box.xmin / width, top: box.ymin / height };
  Object.assign(sides, { width: (box.xmax - box.xmin) / width, height: (box.ymax - box.ymin) / height });
  return Object.fromEntries(Object.entries(sides).map(([side, share]) => [side, `${100 * share}%`]));
}

function render() {
  rows = listRows();
  selected = rows.length ? clamp(selected, -1, rows.length - 1) : 0;
  const { annotation, answer } = view, evidence = (isShown() && answer.evidence) || [];
  show("name").textContent = view.name;
  show("position").textContent = `${view.index + 1} of ${view.count}, ${view.done} annotated`;
  show("refused").hidden = !view.refused;
  show("refused").textContent = view.refused && `Nothing is saved for this picture: ${view.refused}`;
  show("stated").replaceChildren(...(view.stated || []).map((text) => make("li", text)));
  show("model").textContent = answer.error || (isShown() ? opinion(answer) : "The model's opinion is hidden until you decide.");
  find("[data-do=opinion]").hidden = Boolean(answer.error) || isShown();
  show("unread").replaceChildren(...annotation.unread.map((one) => make("li", `Kept as it is: ${one.reason}`)));
  for (const button of element.querySelectorAll("[data-verdict]"))
    button.setAttribute("aria-pressed", button.dataset.verdict === annotation.verdict);
  find(".empty").hidden = rows.length > 0;
  find(".artifacts").replaceChildren(...rows.map(renderRow));
  const boxes = evidence.map(({ box }) => Object.assign(make("div"), { className: "box evidence", place: box }));
  rows.forEach((row, number) => row.box && boxes.push(renderBox(row, number)));
  if (unnamed) boxes.push(Object.assign(make("div"), { className: "box selected", place: unnamed }));
  const proposed = rows.some((row) => row.state === "proposed");
  show("legend").textContent = [
    evidence.length ? "Dotted frames: the strongest evidence for the model's verdict or lean." : "",
    proposed ? "Dashed: artifacts that it proposes." : "",
  ].join(" ");
  for (const box of boxes) Object.assign(box.style, percent(box.place));
  find(".canvas").replaceChildren(find(".canvas img"), ...boxes);
  find(".canvas").style.width = `${100 * zoom}%`;
  const row = rows[selected];
  setField("sentence", row && row.state === "accepted" ? row.explanation : "", !row || row.state !== "accepted");
  setField("note", annotation.note, false);
  field("complete").checked = annotation.complete;
}

function opinion(answer) {
  const probability = answer.verdict_note ? "" : `: ${(100 * answer.fake_probability).toFixed(1)}% fake`;
  const says = `The model says ${answer.label}${probability}.`;
  const traces = (answer.traces || []).map((trace) => trace.text);
  return [says, answer.verdict_note, ...traces, answer.artifacts_note].filter(Boolean).join(" ");
}

function setField(name, text, disabled) {
  if (document.activeElement !== field(name)) field(name).value = text;
  field(name).disabled = disabled || Boolean(view.refused);
}

function renderRow(row, number) {
  const line = make("li", "", { className: `${row.state} ${number === selected ? "selected" : ""}` });
  const tag = make("b", row.box ? String(number + 1) : "–", { className: "number" });
  tag.style.background = row.box ? COLORS[number % COLORS.length] : "#777";
  const state = row.state === "proposed" ? `proposed, ${Math.round(100 * row.score)}%` : row.state === "rejected" ? "rejected" : "";
  line.append(tag, make("span", row.label), make("em", state));
  const button = (text, title, action) => {
    const made = make("button", text, { type: "button", title });
    made.addEventListener("click", (event) => { event.stopPropagation(); select(number); action(); });
    line.append(made);
  };
  if (row.state !== "accepted") button("✓", `Accept ${row.label}`, accept);
  if (row.state !== "rejected") button("✗", `Reject ${row.label}`, reject);
  if (row.state === "accepted") button("✎", `Rename ${row.label}`, () => field("name").focus());
  line.addEventListener("click", () => select(number));
  return line;
}

function renderBox(row, number) {
  const box = make("div", "", { className: `box ${row.state} ${number === selected ? "selected" : ""}`, place: row.box });
  box.style.color = box.style.borderColor = COLORS[number % COLORS.length];
  const tag = make("b", String(number + 1));
  tag.style.background = COLORS[number % COLORS.length];
  box.append(tag);
  if (row.state === "accepted" && number === selected) box.append(make("i"));
  box.dataset.number = number;
  return box;
}

function select(number) {
  leaveFields();
  selected = number;
  render();
}

function leaveFields() {
  if (element.contains(document.activeElement)) document.activeElement.blur();
}

// Every change is saved at once. If the server does not answer, what was done waits here and is sent again.
function commit(change) {
  if (view.refused) return;
  history.push(copy(view.annotation));
  alter(() => change(view.annotation));
}

// What is decided in sight of the model's opinion is decided after seeing it.
function alter(change) {
  const before = copy(view.annotation), wasShown = isShown();
  change();
  const { annotation } = view;
  annotation.opinion_seen = before.opinion_seen || (wasShown && (annotation.verdict !== before.verdict || !isShown()));
  save();
}

function showOpinion() {
  if (isShown()) return;
  view.annotation.opinion_seen = true;
  if (view.refused) render();
  else save();
}

function save() {
  render();
  const target = view, annotation = copy(view.annotation);
  says("Saving …");
  waiting += 1;
  queue = queue.then(async () => {
    for (;;) {
      try {
        const { index, version } = target;
        const answer = await server.save({ index, version, annotation });
        if (!answer) throw new Error("no answer");
        waiting -= 1;
        if (answer.error) {
          if (target === view) await open(index);
          says(`Not saved: ${answer.error}`);
        } else {
          Object.assign(target, answer);
          if (!waiting) says("Saved");
          if (target === view) show("position").textContent = `${view.index + 1} of ${view.count}, ${view.done} annotated`;
        }
        return;
      } catch (error) {
        says("The server does not answer: this is not saved yet, and is tried again.");
        await new Promise((resume) => setTimeout(resume, 1000));
      }
    }
  });
}

async function open(index) {
  says("Loading …");
  view = await server.open_picture({ index });
  find(".canvas img").src = view.src;
  [selected, history, unnamed, zoom] = [0, [], null, 1];
  field("name").value = "";
  renderMatches();
  render();
  says("");
}

async function go(step) {
  leaveFields();
  await queue;
  const { index } = step > 0 ? await server.following({ index: view.index }) : { index: view.index + view.count - 1 };
  await open(index % view.count);
}

function accept() {
  const row = rows[selected];
  if (!row || row.state === "accepted") return;
  const whole = { xmin: 0, ymin: 0, xmax: view.width, ymax: view.height };
  commit((annotation) => {
    annotation.rejected = annotation.rejected.filter((label) => label !== row.label);
    const proposal = (view.answer.artifacts || []).find((one) => one.label === row.label) || {};
    annotation.artifacts.push({ label: row.label, box: proposal.box || whole, explanation: proposal.explanation || "", others: {} });
  });
  selected = view.annotation.artifacts.length - 1;
  render();
}

// A proposal is rejected, and so is what was accepted of one; what the person drew is removed.
function reject() {
  const row = rows[selected];
  if (!row || row.state === "rejected") return;
  commit((annotation) => {
    if (row.state === "accepted") annotation.artifacts.splice(row.index, 1);
    const proposed = (view.answer.artifacts || []).some((one) => one.label === row.label);
    const remains = annotation.artifacts.some((one) => one.label === row.label);
    if (proposed && !remains) annotation.rejected.push(row.label);
  });
}

function undo() {
  if (!history.length || view.refused) return;
  alter(() => { view.annotation = history.pop(); });
}

function matches() {
  const words = field("name").value.toLowerCase().split(/\s+/).filter(Boolean);
  if (!words.length) return [];
  const rank = (one) => {
    const name = [one.name, ...one.aliases].join(" ").toLowerCase(), all = `${name} ${one.definition}`.toLowerCase();
    return words.every((word) => name.includes(word)) ? 0 : words.every((word) => all.includes(word)) ? 1 : 2;
  };
  return names.filter((one) => rank(one) < 2).sort((a, b) => rank(a) - rank(b)).slice(0, 8);
}

function renderMatches() {
  find(".matches").replaceChildren(...matches().map((one) => {
    const line = make("li", one.name);
    line.append(make("small", one.definition));
    line.addEventListener("mousedown", (event) => { event.preventDefault(); take(one.name); });
    return line;
  }));
}

// The name for the box that waits for one, or else for the selected artifact.
function take(label) {
  const row = rows[selected], box = unnamed;
  if (!box && (!row || row.state !== "accepted")) return says("Mark a place first, or accept an artifact.");
  unnamed = null;
  field("name").value = "";
  renderMatches();
  field("name").blur();
  commit((annotation) => {
    annotation.rejected = annotation.rejected.filter((other) => other !== label);
    if (box) annotation.artifacts.push({ label, box, explanation: "", others: {} });
    else annotation.artifacts[row.index].label = label;
  });
  selected = box ? view.annotation.artifacts.length - 1 : row.index;
  render();
}

function nameBox(box) {
  unnamed = box;
  render();
  field("name").focus();
  says("Which artifact is it?");
}

function changeBox(change) {
  const row = rows[selected];
  if (row && row.state === "accepted") commit((annotation) => change(annotation.artifacts[row.index].box));
}

function moved(box, dx, dy) {
  const { width, height } = view;
  dx = clamp(dx, -box.xmin, width - box.xmax);
  dy = clamp(dy, -box.ymin, height - box.ymax);
  Object.assign(box, { xmin: box.xmin + dx, xmax: box.xmax + dx, ymin: box.ymin + dy, ymax: box.ymax + dy });
}

function resized(box, dx, dy) {
  box.xmax = clamp(box.xmax + dx, box.xmin + 1, view.width);
  box.ymax = clamp(box.ymax + dy, box.ymin + 1, view.height);
}

// The mouse draws a box, moves the selected one or pulls its corner, and selects where it does not move.
function pixelAt(event) {
  const frame = find(".canvas img").getBoundingClientRect();
  const at = (value, start, size, most) => clamp(Math.round(((value - start) / size) * most), 0, most);
  return [at(event.clientX, frame.left, frame.width, view.width), at(event.clientY, frame.top, frame.height, view.height)];
}

find(".canvas").addEventListener("pointerdown", (event) => {
  if (!view || view.refused || event.button) return;
  event.preventDefault();
  leaveFields();
  const start = pixelAt(event), under = event.target.closest("[data-number]");
  const row = rows[selected], grabs = under && Number(under.dataset.number) === selected && row.state === "accepted";
  const box = grabs ? copy(row.box) : null;
  const pulls = event.target.tagName === "I";
  let current = null;
  const move = (next) => {
    const [x, y] = pixelAt(next);
    if (box) {
      current = copy(box);
      (pulls ? resized : moved)(current, x - start[0], y - start[1]);
      const drawn = element.querySelector(`[data-number="${selected}"]`);
      Object.assign(drawn.style, percent(current));
    } else {
      current = { xmin: Math.min(x, start[0]), ymin: Math.min(y, start[1]), xmax: Math.max(x, start[0]), ymax: Math.max(y, start[1]) };
      unnamed = current;
      render();
    }
  };
  const end = () => {
    window.removeEventListener("pointermove", move);
    window.removeEventListener("pointerup", end);
    unnamed = null;
    if (box) return current ? changeBox((target) => Object.assign(target, current)) : undefined;
    if (current && current.xmax > current.xmin && current.ymax > current.ymin) return nameBox(current);
    return under ? select(Number(under.dataset.number)) : render();
  };
  window.addEventListener("pointermove", move);
  window.addEventListener("pointerup", end);
});

function zoomTo(value) {
  zoom = clamp(value, 1, 16);
  render();
}

find(".stage").addEventListener("wheel", (event) => {
  if (!event.ctrlKey) return;
  event.preventDefault();
  zoomTo(zoom * (event.deltaY < 0 ? 1.25 : 0.8));
}, { passive: false });

field("name").addEventListener("input", renderMatches);
field("name").addEventListener("keydown", (event) => {
  const [first] = matches();
  if (event.key === "Enter" && first) take(first.name);
});
field("sentence").addEventListener("change", () => {
  const text = field("sentence").value.trim();
  const row = rows[selected];
  if (row && row.state === "accepted") commit((annotation) => { annotation.artifacts[row.index].explanation = text; });
});
field("note").addEventListener("change", () => commit((annotation) => { annotation.note = field("note").value.trim(); }));
field("complete").addEventListener("change", () => commit((annotation) => { annotation.complete = field("complete").checked; }));
for (const button of element.querySelectorAll("[data-verdict]"))
  button.addEventListener("click", () => commit((annotation) => { annotation.verdict = button.dataset.verdict; }));

const actions = {
  next: () => go(1), previous: () => go(-1), undo, opinion: showOpinion,
  zoomIn: () => zoomTo(zoom * 1.5), zoomOut: () => zoomTo(zoom / 1.5), zoomFit: () => zoomTo(1),
};
for (const button of element.querySelectorAll("[data-do]")) button.addEventListener("click", actions[button.dataset.do]);

const middle = () => {
  const { width, height } = view;
  return { xmin: Math.floor(width / 4), ymin: Math.floor(height / 4), xmax: Math.ceil(0.75 * width), ymax: Math.ceil(0.75 * height) };
};
const keys = {
  n: actions.next, p: actions.previous, u: undo, o: showOpinion, a: accept, x: reject, Delete: reject,
  j: () => select(Math.min(selected + 1, rows.length - 1)), k: () => select(Math.max(selected - 1, 0)),
  e: () => field("name").focus(), s: () => field("sentence").focus(), m: () => field("note").focus(),
  b: () => view.refused || nameBox(middle()), c: () => field("complete").click(),
  "+": actions.zoomIn, "=": actions.zoomIn, "-": actions.zoomOut, 0: actions.zoomFit,
};
["real", "fake", "unsure"].forEach((verdict, index) => {
  keys[index + 1] = () => commit((annotation) => { annotation.verdict = verdict; });
});
const directions = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

document.addEventListener("keydown", (event) => {
  if (!view || event.altKey || event.metaKey) return;
  const writes = event.target.matches("input:not([type=checkbox]), textarea");
  if (event.key === "Escape") {
    if (!unnamed && !element.contains(document.activeElement)) selected = -1;
    [unnamed, field("name").value] = [null, ""];
    leaveFields();
    renderMatches();
    return render();
  }
  if (writes) return;
  if (event.ctrlKey) return event.key === "z" ? (event.preventDefault(), undo()) : undefined;
  if (event.key in directions) {
    const [x, y] = directions[event.key], { width, height } = view;
    const [dx, dy] = [x * Math.max(1, Math.round(STEP * width)), y * Math.max(1, Math.round(STEP * height))];
    event.preventDefault();
    return changeBox((box) => (event.shiftKey ? resized : moved)(box, dx, dy));
  }
  const action = keys[event.key];
  if (action) {
    event.preventDefault();
    action();
  }
});

(async () => {
  const started = await server.start({});
  names = started.names;
  await open(started.index);
})();
