"use strict";
const KINDS = ["disease", "symptom", "drug", "test", "procedure", "anatomy"];
const WORDS = {
  en: {
    title: "Medical records", other: "中文", label: "A clinical note, in English or Chinese", go: "Read the note", example: "An example", busy: "Reading …",
    use: "For a person to confirm; no medical device. Names, numbers and dates are masked before anything else is done. Of its words the service keeps hashes alone.",
    lost: "The service did not answer. The note is still here.", note: "The note as it was read", summary: "Summary", hover: "Point at a line, or tab to it, to see where it stands.",
    table: "What it names", head: ["what", "words", "said of it", "codes"], masked: n => `${n} places were masked.`, read: n => `${n} concepts were found.`,
    simulated: "This model learnt from simulated notes.",
    kinds: ["disease", "symptom", "drug", "test", "procedure", "anatomy"],
    said: { negated: "denied", uncertain: "uncertain", historical: "earlier", hypothetical: "may happen", family: "of the family", other: "of somebody else" },
    groups: { problems: "Problems", uncertain: "Uncertain", history: "Earlier", denied: "Denied", family: "Family", drugs: "Drugs", stopped: "Stopped drugs", procedures: "Procedures", results: "Results" },
    text: "Patient: Mary Smith, MRN 4471203, seen on 03/12/2025.\nHPI: Chest pain since yesterday, possible pneumonia. Denies fever.\nFamily history: mother had breast cancer.\nMedications: metformin 500 mg PO BID x 10 days\nLabs: Hb 7.8 g/dL (L), glucose 11",
  },
  zh: {
    title: "病历解读", other: "English", label: "一份中文或英文病历", go: "解读病历", example: "示例", busy: "正在解读……",
    use: "结果须由专业人员确认，不是医疗器械。姓名、号码和日期首先被遮盖；其文字仅以哈希值留存。",
    lost: "服务没有响应，病历仍在输入框中。", note: "所读病历", summary: "摘要", hover: "指向某一行（或用Tab键选中）可查看其出处。",
    table: "所提及的内容", head: ["类别", "原文", "陈述", "编码"], masked: n => `遮盖了${n}处。`, read: n => `找到${n}个概念。`,
    simulated: "该模型由模拟病历训练。",
    kinds: ["疾病", "症状", "药物", "检查", "操作", "部位"],
    said: { negated: "否认", uncertain: "不确定", historical: "既往", hypothetical: "可能发生", family: "家族", other: "他人" },
    groups: { problems: "问题", uncertain: "不确定", history: "既往", denied: "否认", family: "家族", drugs: "用药", stopped: "停用", procedures: "操作", results: "结果" },
    text: "患者张伟，男，58岁，电话13912345678。\n主诉：胸痛3天，肺炎可能。否认发热。\n家族史：母亲乳腺癌。\n阿司匹林 100mg 口服 每日一次。血糖 11.2 mmol/L",
  },
};
const at = id => document.getElementById(id), text = at("text");
let language = document.documentElement.lang === "zh" ? "zh" : "en", answer = null, pieces = [];

function make(tag, words, name = "") {
  const made = document.createElement(tag);
  made.textContent = words;
  made.className = name;
  return made;
}

function dress() {
  const words = WORDS[language];
  document.documentElement.lang = language === "zh" ? "zh-CN" : "en";
  document.title = document.querySelector("h1").textContent = words.title;
  at("language").textContent = words.other;
  at("language").lang = language === "zh" ? "en" : "zh-CN";
  for (const id of ["use", "label", "go", "example"]) at(id).textContent = words[id];
  for (const one of document.querySelectorAll("[data-word]")) one.textContent = words[one.dataset.word];
  at("legend").replaceChildren(...KINDS.map((kind, i) => make("span", words.kinds[i], kind)),
    make("span", words.said.negated, "negated"), make("span", words.said.uncertain, "uncertain"), make("span", "[NAME]", "masked"));
  if (answer) show();
}

function said(entity) {
  const found = [entity.negated && "negated", entity.uncertain && "uncertain"];
  if (entity.temporality !== "recent") found.push(entity.temporality);
  if (entity.experiencer !== "patient") found.push(entity.experiencer);
  return found.filter(Boolean).map(name => WORDS[language].said[name]).join(", ");
}

function drawNote() {
  // Places count characters, not the halves in which JavaScript keeps some.
  const letters = Array.from(answer.text), spans = [];
  for (const one of answer.entities) spans.push([one, `${one.kind}${one.negated ? " negated" : ""}${one.uncertain ? " uncertain" : ""}`, said(one)]);
  for (const one of answer.identifiers) spans.push([one, "masked", one.kind]);
  const cuts = new Set([0, letters.length]);
  for (const one of [...spans.map(([span]) => span), ...answer.summary.flatMap(line => line.evidence)]) cuts.add(one.start).add(one.end);
  const edges = [...cuts].sort((a, b) => a - b);
  spans.sort((a, b) => a[0].start - b[0].start);
  let next = 0;
  pieces = edges.slice(0, -1).map((start, i) => {
    while (next < spans.length && spans[next][0].end <= start) next += 1;
    const over = next < spans.length && spans[next][0].start <= start ? spans[next] : null;
    const piece = make("span", letters.slice(start, edges[i + 1]).join(""), over ? over[1] : "");
    if (over && over[2]) piece.title = over[2];
    return { start, piece };
  });
  at("note").replaceChildren(...pieces.map(({ piece }) => piece));
}

function light(evidence, on) {
  for (const { start, piece } of pieces) piece.classList.toggle("lit", on && evidence.some(one => one.start <= start && start < one.end));
}

function drawSummary() {
  const parts = [];
  let group = "";
  for (const line of answer.summary) {
    if (line.group !== group) parts.push(make("h3", WORDS[language].groups[group = line.group]));
    const button = make("button", line.text + (line.evidence.length > 1 ? ` × ${line.evidence.length}` : ""));
    button.type = "button";
    for (const event of ["mouseenter", "focus"]) button.addEventListener(event, () => light(line.evidence, true));
    for (const event of ["mouseleave", "blur"]) button.addEventListener(event, () => light(line.evidence, false));
    parts.push(button);
  }
  at("summary").replaceChildren(...parts);
}

function drawTable() {
  const head = document.createElement("tr");
  head.append(...WORDS[language].head.map(word => make("th", word)));
  at("table").replaceChildren(head, ...answer.entities.map(one => {
    const row = document.createElement("tr"), kind = document.createElement("td");
    kind.append(make("span", WORDS[language].kinds[KINDS.indexOf(one.kind)], one.kind));
    const codes = one.codes.map(code => `${code.system.split("/").pop()} ${code.code}`).join(", ");
    row.append(kind, make("td", one.text), make("td", said(one)), make("td", codes));
    return row;
  }));
}

function show() {
  const words = WORDS[language];
  drawNote();
  drawSummary();
  drawTable();
  at("found").hidden = false;
  at("busy").textContent = [words.read(answer.entities.length), words.masked(answer.identifiers.length), answer.simulated ? words.simulated : ""].join(" ");
}

document.querySelector("form").onsubmit = async event => {
  event.preventDefault();
  at("go").disabled = true;
  at("fault").textContent = "";
  at("busy").textContent = WORDS[language].busy;
  try {
    const reply = await fetch("predict", { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify({ text: text.value }) });
    const found = await reply.json();
    if (!reply.ok) throw Object.assign(new Error(found.detail), { told: true });
    answer = found;
    show();
  } catch (error) {
    answer = null;
    at("found").hidden = true;
    at("busy").textContent = "";
    at("fault").textContent = error.told ? error.message : WORDS[language].lost;
  }
  at("go").disabled = false;
};
at("example").onclick = () => {
  text.value = WORDS[language].text;
  text.focus();
};
at("language").onclick = () => {
  language = language === "zh" ? "en" : "zh";
  dress();
};
dress();
