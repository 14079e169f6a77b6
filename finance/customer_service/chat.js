"use strict";
const WORDS = {
  en: {
    title: "Customer service", other: "中文", fresh: "New conversation", send: "Send", label: "Your message", log: "Conversation",
    options: "Suggested answers", busy: "Answering …", over: "This conversation has ended.", again: "Send again",
    lost: "The service did not answer. Your message has not been lost.",
    demo: "A demonstration: the bank and its customers are made up. Account 62220001, born 1990-04-12, code 246810, cards 1234 and 5678.",
  },
  zh: {
    title: "客户服务", other: "English", fresh: "新对话", send: "发送", label: "您的消息", log: "对话记录",
    options: "建议的回答", busy: "正在回复……", over: "本次对话已结束。", again: "重新发送",
    lost: "服务没有响应，您的消息没有丢失。",
    demo: "演示环境：银行和客户均为虚构。账号62220001，出生日期1990-04-12，验证码246810，银行卡尾号1234和5678。",
  },
};
const at = id => document.getElementById(id), form = document.querySelector("form"), input = at("text");
let language = document.documentElement.lang === "zh" ? "zh" : "en", session = null, count = 0;

function dress() {
  const words = WORDS[language];
  document.documentElement.lang = language === "zh" ? "zh-CN" : "en";
  document.title = words.title;
  document.querySelector("h1").textContent = words.title;
  at("language").textContent = words.other;
  at("language").lang = language === "zh" ? "en" : "zh-CN";
  at("new").textContent = words.fresh;
  at("demo").textContent = words.demo;
  at("log").setAttribute("aria-label", words.log);
  at("options").setAttribute("aria-label", words.options);
  document.querySelector("label").textContent = input.placeholder = words.label;
  form.querySelector("button").textContent = words.send;
}

function add(text, kind, lang) {
  const line = document.createElement("p");
  line.textContent = text;
  line.className = kind;
  if (lang) line.lang = lang === "zh" ? "zh-CN" : "en";
  at("log").append(line);
  at("log").scrollTop = at("log").scrollHeight;
  return line;
}

function offer(labels, act) {
  at("options").replaceChildren(...labels.map(label => {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = label;
    button.onclick = () => act(label);
    return button;
  }));
}

function wait(busy) {
  at("busy").textContent = busy ? WORDS[language].busy : "";
  const shut = busy || !session || Boolean(session.ended);
  input.disabled = form.querySelector("button").disabled = shut;
  if (!shut) input.focus();
}

async function ask(path, body) {
  const options = body ? { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(body) } : {};
  const response = await fetch(path, options), found = await response.json();
  if (!response.ok) throw Object.assign(new Error(found.detail), { status: response.status });
  return found;
}

function show(answer) {
  session = answer;
  sessionStorage.setItem("session", answer.id);
  at("demo").hidden = !answer.demo;
  if (answer.language !== language) {
    language = answer.language;
    dress();
  }
  for (const text of answer.texts) add(text, "", answer.language);
  offer(answer.ended ? [] : answer.options, say);
  at("log").scrollTop = at("log").scrollHeight;
  if (answer.ended) at("busy").textContent = WORDS[language].over;
}

async function tell(message) {
  offer([], say);
  wait(true);
  try {
    show(await ask(`sessions/${session.id}/messages`, message));
  } catch (error) {
    add(error.status ? error.message : WORDS[language].lost, "fault");
    if (error.status === 404) return begin();
    // The same id: whatever the first one did is not done twice.
    if (!error.status || error.status >= 500 || error.status === 409) offer([WORDS[language].again], () => tell(message));
  }
  wait(false);
  if (session.ended) at("busy").textContent = WORDS[language].over;
}

function say(text) {
  // What proves who somebody is does not stay on the screen.
  add(session.awaits.startsWith("identity.") ? text.replace(/\d/g, "•") : text, "mine");
  count += 1;
  return tell({ text, id: `${session.turn}-${count}-${Date.now()}` });
}

async function begin() {
  at("log").replaceChildren();
  offer([], say);
  session = null;
  wait(true);
  try {
    show(await ask("sessions", { language }));
  } catch (error) {
    add(error.status ? error.message : WORDS[language].lost, "fault");
    offer([WORDS[language].again], begin);
  }
  wait(false);
}

async function resume() {
  const id = sessionStorage.getItem("session");
  if (!id) return begin();
  wait(true);
  try {
    show(await ask(`sessions/${id}`));
  } catch {
    return begin();
  }
  wait(false);
}

form.onsubmit = event => {
  event.preventDefault();
  const text = input.value.trim();
  if (!text || !session || input.disabled) return;
  input.value = "";
  say(text);
};
at("new").onclick = begin;
at("language").onclick = () => {
  language = language === "zh" ? "en" : "zh";
  dress();
  begin();
};
dress();
resume();
