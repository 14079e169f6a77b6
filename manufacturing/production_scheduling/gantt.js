// The interactive chart of gantt.html: one canvas, of which only what is in view is drawn. Times are those of the plan.
"use strict";
const plan = JSON.parse(document.getElementById("plan").textContent);
const get = (id) => document.getElementById(id);
const chart = get("chart"), canvas = chart.querySelector("canvas"), pen = canvas.getContext("2d"), tip = get("tip");
const [JOB, NAME, ROW, START, END, LANE, SETUP, WHY, PEOPLE] = [0, 1, 2, 3, 4, 5, 6, 7, 8];
const TOP = 40, GAP = 26, FONT = "12px system-ui, sans-serif";
const onPath = new Map(plan.path.map((bar, place) => [bar, place]));
const rows = plan.rows.map((row) => ({ ...row, bars: [] }));
plan.bars.forEach((bar, index) => [bar[ROW], ...bar[PEOPLE]].forEach((row) => rows[row].bars.push(index)));
rows.forEach((row) => row.bars.sort((a, b) => plan.bars[a][START] - plan.bars[b][START]));
const ofJob = plan.jobs.map(() => []);
plan.bars.forEach((bar, index) => ofJob[bar[JOB]].push(index));
const lastOf = ofJob.map((bars) => bars.reduce((best, bar) => (best < 0 || plan.bars[bar][END] > plan.bars[best][END] ? bar : best), -1));
const firstOperator = rows.findIndex((row) => row.operator);
const span = Math.max(1, plan.end);
let ink = {}, gutter = 60, wide = 0, high = 0, tall = 24, from = 0, scale = 0, down = 0, hover = -1, chosen = -1, focus = -1;

// Words.
const pad = (n) => String(n).padStart(2, "0");
const seconds = plan.origin !== null && (plan.unit % 60 || plan.origin % 60000);
function parts(t) {  // the day and the time of day on the plant's clock
  const at = new Date(plan.origin + t * plan.unit * 1000);
  const day = `${"Sun Mon Tue Wed Thu Fri Sat".split(" ")[at.getUTCDay()]} ${at.getUTCDate()} ${"Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec".split(" ")[at.getUTCMonth()]}`;
  return [day, `${pad(at.getUTCHours())}:${pad(at.getUTCMinutes())}` + (seconds ? `:${pad(at.getUTCSeconds())}` : "")];
}
const when = (t) => plan.origin === null ? t.toLocaleString("en") : parts(t).join(" ");
function between(start, end) {
  const sameDay = plan.origin !== null && parts(start)[0] === parts(end)[0];
  return `${when(start)} to ${sameDay ? parts(end)[1] : when(end)} (${lasts(end - start)})`;
}
function lasts(t) {
  if (plan.origin === null) return t.toLocaleString("en");
  const s = t * plan.unit, h = Math.floor(s / 3600), m = Math.floor(s / 60) % 60;
  return [h && `${h} h`, m && `${m} min`, s % 60 && `${s % 60} s`].filter(Boolean).join(" ") || "0";
}
function words(index) {
  const bar = plan.bars[index], job = plan.jobs[bar[JOB]], late = job.late > 0;
  const lines = [between(bar[START], bar[END]), `on ${rows[bar[ROW]].name}`];
  if (bar[PEOPLE].length) lines.push(`by ${bar[PEOPLE].map((row) => rows[row].name).join(", ")}`);
  if (bar[SETUP]) lines.push(`after a setup of ${lasts(bar[SETUP])}`);
  if (job.due !== null) lines.push(`job due ${when(job.due)}`);
  return { title: `${job.name} · ${bar[NAME]}`, lines, late: late ? `late by ${lasts(job.late)}` : "", why: bar[WHY], path: onPath.has(index) };
}

// Colours: golden angle, so that neighbours in the list differ; the chosen job and names in the bars tell them apart.
const dark = () => document.documentElement.dataset.theme === "dark";
const hue = (job) => (205 + job * 137.508) % 360;
const fill = (job) => `hsl(${hue(job)} ${dark() ? 42 : 58}% ${(dark() ? 42 : 74) + (job % 3) * 4}%)`;
function readInk() {
  const style = getComputedStyle(document.documentElement);
  for (const name of ["paper", "band", "ink", "soft", "rule", "shut", "care", "late", "path", "accent"]) ink[name] = style.getPropertyValue(`--${name}`);
}

// Geometry.
const x = (t) => gutter + (t - from) * scale;
const time = (px) => from + (px - gutter) / scale;
const heightOf = (row) => tall * Math.max(1, Math.min(3, rows[row].lanes * 0.6 + 0.4));
let tops = [];
function place() {
  tops = [];
  let y = TOP;
  rows.forEach((row, index) => {
    if (index === firstOperator) y += GAP;
    tops.push(y);
    y += heightOf(index);
  });
  tops.push(y);
}
const y = (row) => tops[row] - down;
function keepIn() {
  const least = (wide - gutter) / (span * 1.03), most = Math.max(least, 60);
  scale = Math.min(most, Math.max(least, scale));
  const view = (wide - gutter) / scale;
  from = Math.max(-0.01 * view, Math.min(from, span * 1.03 - view));
  down = Math.max(0, Math.min(down, tops[rows.length] - high + 8));
}
function box(index, row = plan.bars[index][ROW]) {
  const bar = plan.bars[index], lanes = row === bar[ROW] ? rows[row].lanes : 1, room = heightOf(row) - 6;
  const lane = row === bar[ROW] ? bar[LANE] : 0;
  return [x(bar[START]), y(row) + 3 + (lane * room) / lanes, Math.max(1, (bar[END] - bar[START]) * scale - 0.6), room / lanes - (lanes > 1 ? 1 : 0)];
}

// Drawing.
let stripes;
function hatch(color) {
  const tile = document.createElement("canvas");
  tile.width = tile.height = 6;
  const line = tile.getContext("2d");
  line.strokeStyle = color;
  line.lineWidth = 1.4;
  line.beginPath();
  for (const at of [-6, 0, 6]) { line.moveTo(at, 6); line.lineTo(at + 6, 0); }
  line.stroke();
  return pen.createPattern(tile, "repeat");
}
function spans(list, row, style, label) {
  const top = y(row), room = heightOf(row);
  pen.fillStyle = style;
  for (const [start, end, name] of list) {
    if (x(end) < gutter || x(start) > wide) continue;
    pen.fillRect(x(start), top, Math.max(0.5, (end - start) * scale), room);
    if (label && (end - start) * scale > 30) {
      const left = Math.max(gutter, x(start)) + 6, text = shortened(name, x(end) - left - 6);
      pen.fillStyle = ink.paper;
      pen.fillRect(left - 3, top + room / 2 - 9, pen.measureText(text).width + 6, 18);
      pen.fillStyle = ink.soft;
      pen.fillText(text, left, top + room / 2 + 0.5);
      pen.fillStyle = style;
    }
  }
}
function written(texts, left, middle, room) {  // the first that fits; half a name would be another's
  const text = texts.find((one) => pen.measureText(one).width <= room);
  if (text) pen.fillText(text, left, middle + 0.5);
}
function shortened(text, room) {
  if (pen.measureText(text).width <= room) return text;
  let kept = text.length;
  while (kept > 1 && pen.measureText(`${text.slice(0, kept)}…`).width > room) kept--;
  return `${text.slice(0, kept)}…`;
}
function dimmed(index) {
  const job = plan.bars[index][JOB];
  if (chosen >= 0) return job !== chosen;
  return (get("path").checked && !onPath.has(index)) || (get("late").checked && !(plan.jobs[job].late > 0));
}
function drawBar(index, row) {
  const bar = plan.bars[index], [left, top, width, height] = box(index, row), pale = dimmed(index);
  if (left > wide || left + width < gutter) return;
  pen.globalAlpha = pale ? 0.2 : 1;
  if (bar[SETUP] && row === bar[ROW]) {
    pen.fillStyle = stripes.ink;
    pen.fillRect(left - bar[SETUP] * scale, top, bar[SETUP] * scale, height);
  }
  pen.fillStyle = fill(bar[JOB]);
  pen.beginPath();
  pen.roundRect(left, top, width, height, Math.min(3, width / 3));
  pen.fill();
  if (lastOf[bar[JOB]] === index && plan.jobs[bar[JOB]].late > 0) {
    pen.fillStyle = ink.late;
    pen.fillRect(left + width - 4, top - 2, 4, height + 4);
  }
  if (!pale) {
    const strong = onPath.has(index) && get("path").checked;
    if (index === focus || index === hover || strong) {
      pen.strokeStyle = index === focus ? ink.accent : ink.path;
      pen.lineWidth = index === focus ? 3 : strong ? 2 : 1.2;
      pen.stroke();
    }
    if (width > 18 && height > 10) {
      pen.fillStyle = dark() ? "#fff" : "#111827";
      const start = Math.max(left, gutter);
      const name = plan.jobs[bar[JOB]].name;
      written([`${name} · ${bar[NAME]}`, name], start + 5, top + height / 2, left + width - start - 8);
    }
  }
  pen.globalAlpha = 1;
}
function ticks() {
  const steps = plan.origin === null ? null : [1, 5, 15, 30, 60, 300, 900, 1800, 3600, 7200, 21600, 43200, 86400, 172800, 604800, 2419200];
  const unit = plan.origin === null ? 1 : plan.unit, wanted = (92 / scale) * unit;
  let step = steps ? steps.find((one) => one >= wanted && one >= unit) || Math.ceil(wanted / 2419200) * 2419200 : 10 ** Math.ceil(Math.log10(wanted));
  if (!steps) { for (const part of [0.2, 0.5]) if (step * part >= Math.max(1, wanted)) { step *= part; break; } step = Math.max(1, step); }
  const offset = plan.origin === null ? 0 : ((plan.origin / 1000) % step + step) % step;  // on full hours and days of the plant's clock
  const found = [];
  for (let at = Math.ceil((Math.max(0, from) * unit + offset) / step) * step - offset; at / unit < time(wide); at += step) found.push([at / unit, step]);
  return found;
}
function draw() {
  pen.setTransform(devicePixelRatio, 0, 0, devicePixelRatio, 0, 0);
  pen.clearRect(0, 0, wide, high);
  pen.font = FONT;
  pen.textBaseline = "middle";
  const shown = rows.map((_, row) => row).filter((row) => y(row) < high && y(row) + heightOf(row) > TOP);
  pen.save();
  pen.beginPath();
  pen.rect(gutter, TOP, wide, high);
  pen.clip();
  const marks = ticks();
  for (const row of shown) {
    if (row % 2) { pen.fillStyle = ink.band; pen.fillRect(gutter, y(row), wide, heightOf(row)); }
    spans(rows[row].closed, row, ink.shut);
    spans(rows[row].maintenance, row, stripes.care, true);
  }
  pen.strokeStyle = ink.rule;
  pen.lineWidth = 1;
  pen.beginPath();
  for (const [at] of marks) { pen.moveTo(Math.round(x(at)) + 0.5, TOP); pen.lineTo(Math.round(x(at)) + 0.5, high); }
  pen.stroke();
  for (const row of shown) {
    const last = [];
    for (const index of rows[row].bars) {
      const bar = plan.bars[index];
      if (bar[START] > time(wide)) break;
      const right = x(bar[END]);
      if (right < gutter || (last[bar[LANE]] && right - last[bar[LANE]] < 0.5)) continue;  // no pixel of its own
      last[bar[LANE]] = right;
      drawBar(index, row);
    }
  }
  pen.globalAlpha = 0.6;  // an operation that is interrupted shines through
  for (const row of shown) spans(rows[row].closed, row, ink.shut);
  pen.globalAlpha = 1;
  if (get("path").checked && chosen < 0) drawPath();
  if (chosen >= 0 && plan.jobs[chosen].due !== null) {
    pen.strokeStyle = ink.late;
    pen.setLineDash([5, 4]);
    pen.beginPath();
    pen.moveTo(x(plan.jobs[chosen].due), TOP);
    pen.lineTo(x(plan.jobs[chosen].due), high);
    pen.stroke();
    pen.setLineDash([]);
    pen.fillStyle = ink.late;
    pen.fillText("due", x(plan.jobs[chosen].due) + 4, TOP + 8);
  }
  pen.restore();
  drawFrame(shown, marks);
}
function drawPath() {
  pen.strokeStyle = ink.path;
  pen.lineWidth = 1.3;
  for (let place = 1; place < plan.path.length; place++) {
    const [a, b] = [box(plan.path[place - 1]), box(plan.path[place])];
    if (b[0] + b[2] < gutter || a[0] > wide) continue;
    pen.beginPath();
    pen.moveTo(a[0] + a[2], a[1] + a[3] / 2);
    pen.lineTo(b[0], b[1] + b[3] / 2);
    pen.stroke();
  }
}
function drawFrame(shown, marks) {
  pen.fillStyle = ink.paper;
  pen.fillRect(0, 0, wide, TOP);
  pen.fillRect(0, 0, gutter, high);
  pen.fillStyle = ink.soft;
  pen.textAlign = "center";
  const clocks = plan.origin !== null && marks.length && marks[0][1] < 86400;
  for (const [at] of marks) if (x(at) > gutter - 1) pen.fillText(plan.origin === null ? when(at) : parts(at)[clocks ? 1 : 0], x(at), clocks ? TOP - 11 : TOP / 2);
  if (clocks) drawDays();
  pen.textAlign = "left";
  pen.save();
  pen.beginPath();
  pen.rect(0, TOP, gutter, high);
  pen.clip();
  pen.fillStyle = ink.ink;
  for (const row of shown) pen.fillText(shortened(rows[row].name, gutter - 28), 20, y(row) + heightOf(row) / 2 + 0.5);
  if (firstOperator >= 0 && y(firstOperator) - GAP < high) {
    pen.fillStyle = ink.soft;
    pen.fillText("Operators", 20, y(firstOperator) - GAP / 2);
  }
  pen.restore();
  pen.strokeStyle = ink.rule;
  pen.beginPath();
  pen.moveTo(0, TOP - 0.5); pen.lineTo(wide, TOP - 0.5);
  pen.moveTo(gutter - 0.5, 0); pen.lineTo(gutter - 0.5, high);
  pen.stroke();
}
function drawDays() {
  const day = 86400 / plan.unit, sinceMidnight = (plan.origin / 1000 / plan.unit) % day;
  pen.textAlign = "left";
  pen.fillStyle = ink.ink;
  pen.font = `600 ${FONT}`;
  for (let at = Math.floor((from + sinceMidnight) / day) * day - sinceMidnight; at < time(wide); at += day) {
    const left = Math.max(x(at), gutter), text = parts(at + 1e-6)[0];
    if (left + pen.measureText(text).width + 6 < x(at + day)) pen.fillText(text, left + 4, 11);
  }
  pen.font = FONT;
  pen.fillStyle = ink.soft;
}
let asked = false;
function redraw() {
  if (asked) return;
  asked = true;
  requestAnimationFrame(() => { asked = false; if (wide) { keepIn(); draw(); } });
}

// What the pointer and the keys do.
function at(px, py) {
  const row = tops.findIndex((top, index) => index < rows.length && py + down >= top && py + down < top + heightOf(index));
  if (row < 0 || px < gutter || py < TOP) return -1;
  return [...rows[row].bars].reverse().find((index) => {
    const [left, top, width, height] = box(index, row);
    return px >= left - 1 && px <= left + Math.max(width, 3) && py >= top - 2 && py <= top + height + 2;
  }) ?? -1;
}
function tell(index, px, py) {
  tip.hidden = index < 0;
  if (index < 0) return;
  const found = words(index), part = (tag, text, kind) => {
    const one = document.createElement(tag);
    one.textContent = text;
    if (kind) one.className = kind;
    return one;
  };
  tip.replaceChildren(part("b", found.title), part("span", found.lines.join("\n")));
  if (found.late) tip.append(part("span", `\n${found.late}`, "late"));
  if (found.path) tip.append(part("span", "\non the critical path"));
  if (found.why) tip.append(part("span", found.why, "why"));
  tip.style.left = `${Math.max(8, Math.min(px + 14, wide - tip.offsetWidth - 8))}px`;
  tip.style.top = `${py + 18 + tip.offsetHeight > high ? Math.max(4, py - tip.offsetHeight - 12) : py + 18}px`;
}
function choose(job) {
  chosen = job;
  get("job").value = job < 0 ? "" : plan.jobs[job].name;
  redraw();
}
function zoom(factor, px = (wide + gutter) / 2) {
  const kept = time(px);
  scale *= factor;
  keepIn();
  from = kept - (px - gutter) / scale;
  tell(-1);
  redraw();
}
function fit() { from = 0; scale = 0; down = 0; redraw(); }
function look(index) {
  focus = index;
  const bar = plan.bars[index], view = (wide - gutter) / scale, row = bar[ROW];
  if (bar[START] < from || bar[END] > from + view) from = (bar[START] + bar[END] - view) / 2;
  if (y(row) < TOP) down = tops[row] - TOP;
  if (y(row) + heightOf(row) > high) down = tops[row] + heightOf(row) - high + 4;
  keepIn();
  const [left, top, width, height] = box(index), found = words(index);
  tell(index, left + Math.min(width, 20), top + height - 14);
  get("said").textContent = [found.title, ...found.lines, found.late, found.path ? "on the critical path" : "", found.why].filter(Boolean).join(", ");
  redraw();
}
function step(key) {
  if (focus < 0) return look(rows.find((row) => row.bars.length)?.bars[0] ?? 0);
  const bar = plan.bars[focus], list = rows[bar[ROW]].bars, here = list.indexOf(focus);
  if (key === "ArrowRight" || key === "ArrowLeft") return look(list[Math.max(0, Math.min(list.length - 1, here + (key === "ArrowRight" ? 1 : -1)))]);
  const way = key === "ArrowDown" ? 1 : -1;
  for (let row = bar[ROW] + way; row >= 0 && row < rows.length && !rows[row].operator; row += way) {
    const near = rows[row].bars.reduce((best, one) => (best < 0 || Math.abs(plan.bars[one][START] - bar[START]) < Math.abs(plan.bars[best][START] - bar[START]) ? one : best), -1);
    if (near >= 0) return look(near);
  }
}
let held = null, touches = new Map(), pinch = 0;
canvas.addEventListener("pointerdown", (event) => {
  touches.set(event.pointerId, event.offsetX);
  held = { x: event.offsetX, y: event.offsetY, from, down, moved: false };
  pinch = touches.size === 2 ? Math.abs([...touches.values()].reduce((a, b) => a - b)) : 0;
  canvas.setPointerCapture(event.pointerId);
  canvas.classList.add("held");
});
canvas.addEventListener("pointermove", (event) => {
  if (touches.size === 2 && touches.has(event.pointerId)) {
    touches.set(event.pointerId, event.offsetX);
    const [a, b] = [...touches.values()], wider = Math.abs(a - b);
    if (pinch > 10 && wider > 10) zoom(wider / pinch, (a + b) / 2);
    pinch = wider;
  } else if (held) {
    held.moved ||= Math.hypot(event.offsetX - held.x, event.offsetY - held.y) > 4;
    from = held.from - (event.offsetX - held.x) / scale;
    down = held.down - (event.offsetY - held.y);
    tell(-1);
    redraw();
  } else {
    const found = at(event.offsetX, event.offsetY);
    if (found !== hover) { hover = found; redraw(); }
    tell(found, event.offsetX, event.offsetY);
  }
});
for (const kind of ["pointerup", "pointercancel"]) canvas.addEventListener(kind, (event) => {
  touches.delete(event.pointerId);
  if (kind === "pointerup" && held && !held.moved) {
    const found = at(event.offsetX, event.offsetY);
    focus = found;
    choose(found < 0 || plan.bars[found][JOB] === chosen ? -1 : plan.bars[found][JOB]);
  }
  held = null;
  canvas.classList.remove("held");
});
canvas.addEventListener("pointerleave", () => { hover = -1; if (!held) tell(-1); redraw(); });
canvas.addEventListener("dblclick", (event) => zoom(2, event.offsetX));
canvas.addEventListener("wheel", (event) => {
  event.preventDefault();
  if (event.ctrlKey || event.metaKey) return zoom(Math.exp(-event.deltaY / 300), event.offsetX);
  from += (event.shiftKey ? event.deltaY : event.deltaX) / scale;
  down += event.shiftKey ? 0 : event.deltaY;
  tell(-1);
  redraw();
}, { passive: false });
canvas.addEventListener("keydown", (event) => {
  const act = { "+": () => zoom(1.5), "=": () => zoom(1.5), "-": () => zoom(1 / 1.5), 0: fit, Escape: () => { focus = -1; tell(-1); choose(-1); },
    Enter: () => focus >= 0 && choose(chosen === plan.bars[focus][JOB] ? -1 : plan.bars[focus][JOB]) }[event.key]
    ?? (event.key.startsWith("Arrow") && plan.bars.length ? () => step(event.key) : null);
  if (!act || event.ctrlKey || event.metaKey || event.altKey) return;
  event.preventDefault();
  act();
});
get("job").addEventListener("input", (event) => {
  chosen = plan.jobs.findIndex((job) => job.name === event.target.value);
  if (chosen >= 0 && ofJob[chosen].length) look(ofJob[chosen][0]);
  tell(-1);
  redraw();
});
for (const id of ["path", "late"]) get(id).addEventListener("change", redraw);
get("in").addEventListener("click", () => zoom(1.5));
get("out").addEventListener("click", () => zoom(1 / 1.5));
get("fit").addEventListener("click", fit);
function theme(name) {
  document.documentElement.dataset.theme = name;
  readInk();
  stripes = { ink: hatch(ink.soft), care: hatch(ink.care) };
  redraw();
}
get("theme").addEventListener("click", () => theme(dark() ? "light" : "dark"));

// The page around it.
document.querySelector("h1").textContent = plan.title;
canvas.setAttribute("aria-label", `Gantt chart of ${plan.bars.length} operations of ${plan.jobs.length} jobs on ${rows.filter((row) => !row.operator).length} machines; arrow keys go from one to the next`);
for (const [name, value, kind] of plan.figures) {
  const pair = document.createElement("div"), term = document.createElement("dt"), text = document.createElement("dd");
  [term.textContent, text.textContent, text.className] = [name, value, kind || ""];
  pair.append(term, text);
  document.querySelector("dl").append(pair);
}
for (const job of plan.jobs.slice(0, 2000)) get("names").append(new Option(job.name));
get("has-path").hidden = !plan.path.length;
get("has-late").hidden = !plan.jobs.some((job) => job.late > 0);
for (const id of ["has-path", "has-late"]) if (get(id).hidden) get(id).style.display = "none";
const keys = [["setup", "repeating-linear-gradient(135deg, var(--soft) 0 1.5px, transparent 1.5px 5px)", plan.bars.some((bar) => bar[SETUP])],
  ["closed", "var(--shut)", rows.some((row) => row.closed.length)],
  ["maintenance", "repeating-linear-gradient(135deg, var(--care) 0 1.5px, transparent 1.5px 5px)", rows.some((row) => row.maintenance.length)],
  ["end of a late job", "var(--late)", plan.jobs.some((job) => job.late > 0)]];
for (const [name, look, there] of keys) if (there) {
  const one = document.createElement("span"), swatch = document.createElement("i");
  swatch.style.background = look;
  if (name.startsWith("end")) swatch.style.width = "4px";
  one.append(swatch, name);
  one.style.marginRight = "16px";
  get("legend").append(one);
}
document.querySelector("details").addEventListener("toggle", (event) => {
  if (!event.target.open || event.target.querySelector("table")) return;
  const table = document.createElement("table"), line = (cells, tag) => {
    const row = table.insertRow();
    for (const cell of cells) row.appendChild(document.createElement(tag)).textContent = cell;
  };
  line(["job", "operation", "machine", "start", "end", "operators"], "th");
  for (const bar of plan.bars) line([plan.jobs[bar[JOB]].name, bar[NAME], rows[bar[ROW]].name, when(bar[START]), when(bar[END]), bar[PEOPLE].map((row) => rows[row].name).join(", ")], "td");
  event.target.querySelector(".rows").append(table);
});
new ResizeObserver(() => {
  wide = chart.clientWidth;
  high = chart.clientHeight;
  canvas.width = wide * devicePixelRatio;
  canvas.height = high * devicePixelRatio;
  pen.font = FONT;
  gutter = Math.min(Math.max(60, 32 + Math.max(...rows.map((row) => pen.measureText(row.name).width))), 180, wide / 3);
  const units = rows.reduce((sum, row) => sum + Math.max(1, Math.min(3, row.lanes * 0.6 + 0.4)), 0);
  tall = Math.max(18, Math.min(38, (high - TOP - 8 - (firstOperator >= 0 ? GAP : 0)) / units));
  place();
  redraw();
}).observe(chart);
theme(matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light");
