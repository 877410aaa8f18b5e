// Tries all that a page can do to a server of another origin, and tells its own server what came of it.
"use strict";

const SECONDS = 8;

const tries = {
  cors: (url) => read(url, {}),
  "cors with a token": (url, plan) => read(url, { headers: { Authorization: `Bearer ${plan.token}` } }),
  "cors with a key": (url, plan) => read(url, { headers: { "X-API-Key": plan.token } }),
  "no-cors": (url) => read(url, { mode: "no-cors", credentials: "include" }),
  "no-cors with a token": (url, plan) => read(url, { mode: "no-cors", headers: { Authorization: `Bearer ${plan.token}` } }),
  events: (url) =>
    settled((done) => {
      const source = new EventSource(url);
      source.addEventListener("ready", () => done("read"), { once: true });
      source.onerror = () => done("refused");
      return () => source.close();
    }),
  socket: (url) =>
    settled((done) => {
      const socket = new WebSocket(url.replace("http", "ws"));
      socket.onopen = () => done("read");
      socket.onerror = () => done("refused");
      return () => socket.close();
    }),
  img: (url) => loaded("img", { src: url }),
  script: (url) => loaded("script", { src: url }),
  style: (url) => loaded("link", { rel: "stylesheet", href: url }),
  frame: (url) =>
    settled((done) => {
      const frame = add("iframe", { src: url });
      frame.onload = () => done(frame.contentDocument === null ? "unreadable" : "read");
    }),
};

const writes = {
  "cors json": (method, url, plan) =>
    read(url, { method, headers: { "Content-Type": "application/json", Authorization: `Bearer ${plan.token}` }, body: plan.json }),
  "no-cors text": (method, url, plan) => read(url, { method: "POST", mode: "no-cors", credentials: "include", body: plan.json }),
  "no-cors form": (method, url, plan) => read(url, { method: "POST", mode: "no-cors", body: new URLSearchParams(plan.form) }),
  "form text": (method, url, plan) => submit(url, "text/plain", { [`${plan.json.slice(0, -1)},"x":"`]: '"}' }),
  form: (method, url, plan) => submit(url, "application/x-www-form-urlencoded", plan.form),
  beacon: async (method, url, plan) => (navigator.sendBeacon(url, new Blob([plan.json], { type: "text/plain" })) ? "sent" : "refused"),
};

async function read(url, options) {
  const answer = await fetch(url, options);
  const text = await answer.text();
  return answer.type === "opaque" && text === "" ? "opaque" : `read ${answer.status} ${text.slice(0, 200)}`;
}

function settled(begin) {
  return new Promise((resolve) => {
    let clean;
    const done = (outcome) => {
      clearTimeout(late);
      if (clean) clean();
      resolve(outcome);
    };
    const late = setTimeout(() => done("nothing came"), SECONDS * 1000);
    clean = begin(done);
  });
}

function add(tag, properties) {
  return document.documentElement.appendChild(Object.assign(document.createElement(tag), properties));
}

function loaded(tag, properties) {
  return settled((done) => {
    const element = add(tag, properties);
    element.onload = () => done("read");
    element.onerror = () => done("refused");
  });
}

function submit(url, enctype, fields) {
  return settled((done) => {
    const frame = add("iframe", { name: `frame${Math.random()}` });
    const form = add("form", { method: "POST", action: url, enctype, target: frame.name });
    for (const [name, value] of Object.entries(fields)) form.appendChild(Object.assign(document.createElement("input"), { name, value }));
    form.submit();
    frame.onload = () => done("sent");
  });
}

async function attempt(results, what, base, target, work) {
  let outcome;
  try {
    outcome = await work();
  } catch (error) {
    outcome = "refused";
  }
  results.push({ what, base, target, outcome });
}

async function run() {
  const plan = await (await fetch("/plan")).json();
  const results = [];
  for (const base of plan.bases) {
    const work = [];
    for (const [what, path] of plan.reads) work.push(attempt(results, what, base, path, () => tries[what](base + path, plan)));
    for (const [what, method, path] of plan.writes)
      work.push(attempt(results, what, base, `${method} ${path}`, () => writes[what](method, base + path, plan)));
    await Promise.all(work);
  }
  await fetch("/done", { method: "POST", body: JSON.stringify(results) });
}

run().catch((error) => fetch("/done", { method: "POST", body: JSON.stringify([{ what: "page", outcome: String(error) }]) }));
