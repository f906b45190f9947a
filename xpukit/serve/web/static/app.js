// The choices: kept in the page's address, asked of the planner, and what can be chosen shown as it answers.
// No rule of the planner is here: what is possible and what fits comes with each answer.

import { make, showAnswer } from "./show.js";

const byId = (id) => document.getElementById(id);
const OWN = ["platform", "engine", "quantization", "context", "concurrency", "thinking", "tools", "reasoning_parser", "tool_parser", "form"];
const WAIT_MS = 250;
let facts;
let chosen = {};
let asking = null;
let timer = 0;
let answers = 0;

// ---- choices and the address -------------------------------------------------------------------------------------

const fieldOf = (name) => facts.fields.find((one) => one.name === name);

function readValue(field, texts) {
  const text = texts[0];
  if (field.kind === "words") return texts.filter(Boolean);
  if (field.kind === "yes") return text === "1";
  if (field.kind === "yes-or-no") return text === "" ? null : text === "1";
  if (field.kind === "count" || field.kind === "share") return text === "" ? facts.defaults[field.name] : Number(text);
  return text;
}

function readAddress() {
  const query = new URLSearchParams(location.search);
  chosen = {};
  if (query.get("model")) chosen.model = query.get("model");
  for (const field of facts.fields) if (query.has(field.name)) choose(field.name, readValue(field, query.getAll(field.name)));
  for (const [name, value] of Object.entries(facts.fixed)) if (value) chosen[name] = value;
}

function writeAddress() {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(chosen)) {
    for (const one of Array.isArray(value) ? value : [value]) query.append(name, one === true ? "1" : one === false ? "0" : one);
  }
  const text = query.toString();
  history.replaceState(null, "", text ? `?${text}` : location.pathname);
}

function choose(name, value) {
  const plain = name === "model" ? "" : facts.defaults[name];
  if (value === undefined || JSON.stringify(value) === JSON.stringify(plain)) delete chosen[name];
  else chosen[name] = value;
}

function change(name, value, { wait = false } = {}) {
  choose(name, value);
  ask(wait);
}

// ---- asking ------------------------------------------------------------------------------------------------------

function ask(wait = false) {
  writeAddress();
  document.documentElement.dataset.state = "waiting";
  clearTimeout(timer);
  timer = setTimeout(askNow, wait ? WAIT_MS : 0);
}

async function askNow() {
  asking?.abort();
  const mine = new AbortController();
  asking = mine;
  let answer;
  try {
    const response = await fetch("plan", { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(chosen), signal: mine.signal });
    answer = await response.json();
  } catch (error) {
    if (mine.signal.aborted) return;
    answer = { error: { message: "xpukit does not answer any more", hint: "start it again: xpukit serve --web" } };
  }
  if (asking !== mine) return;
  showAnswer({ line: "", files: [], options: null, plan: null, ...answer });
  showOptions(answer.options, answer.plan);
  answers += 1;
  document.documentElement.dataset.state = "ready";
  document.documentElement.dataset.answers = answers;
}

// ---- what can be chosen ------------------------------------------------------------------------------------------

function fillSelect(select, options, value) {
  const rows = options.some((one) => one.value === value) ? options : [...options, { value, label: value, note: "" }];
  const wanted = JSON.stringify(rows);
  if (select.dataset.rows !== wanted) {
    select.dataset.rows = wanted;
    select.replaceChildren(...rows.map((one) => make("option", { value: one.value, title: one.note || undefined }, one.label)));
  }
  select.value = value;
}

// Rows are changed in place: whoever moves through them with the keyboard keeps the focus.
function fillRadios(box, name, options, value, onChange) {
  const rows = options.some((one) => one.value === value) ? options : [...options, { value, label: value, note: "", possible: true }];
  const old = new Map([...box.querySelectorAll("label")].map((label) => [label.dataset.value, label]));
  rows.forEach((one, place) => {
    let label = old.get(one.value);
    old.delete(one.value);
    if (!label) {
      const input = make("input", { type: "radio", name });
      input.value = one.value;
      input.addEventListener("change", () => onChange(one.value));
      label = make("label", { class: "radio" }, input, make("span", {}, make("span"), make("small")));
      label.dataset.value = one.value;
    }
    if (box.children[place] !== label) box.insertBefore(label, box.children[place] ?? null);
    label.classList.toggle("off", !one.possible);
    const input = label.querySelector("input");
    input.disabled = !one.possible && one.value !== value;
    input.checked = one.value === value;
    label.querySelector("span span").textContent = one.label;
    label.querySelector("small").textContent = box.classList.contains("chips") ? "" : one.note;
    if (box.classList.contains("chips")) label.title = one.note;
  });
  for (const label of old.values()) label.remove();
}

const chooseForMe = (label, note = "") => ({ value: "", label, note, possible: true });

function showOptions(options, plan) {
  const [engine] = (chosen.engine ?? "").split(":");
  const engines = options?.engines ?? Object.keys(facts.versions).map((name) => ({ value: name, label: name, note: "" }));
  fillSelect(byId("engine"), [chooseForMe("the usual one for the GPU"), ...engines], engine);
  const versions = engine ? (facts.versions[engine] ?? []) : [];
  const version = (chosen.engine ?? "").includes(":") ? chosen.engine : "";
  fillSelect(byId("version"), [chooseForMe(engine ? "the newest known" : "choose an engine first"), ...versions], version);
  byId("version").disabled = !engine;
  byId("engine-note").textContent = plan ? [`${plan.engine.name} ${plan.engine.version}`, plan.engine.image, plan.engine.label].filter(Boolean).join(", ") : "";
  const quantization = options?.quantization ?? [];
  const taken = plan && !chosen.quantization ? `now ${plan.quantization}` : "the most exact that fits";
  fillRadios(byId("quantization"), "quantization", [chooseForMe("choose for me", taken), ...quantization], chosen.quantization ?? "", (value) => change("quantization", value));
  byId("contexts").replaceChildren(...(options?.context ?? []).map((one) => {
    const button = make("button", { type: "button", "data-context": one.value, title: one.note || undefined }, one.label);
    button.addEventListener("click", () => {
      byId("context").value = one.value;
      change("context", Number(one.value));
    });
    return button;
  }));
  fillSelect(byId("reasoning_parser"), [chooseForMe("the model's"), ...(options?.reasoning ?? [])], chosen.reasoning_parser ?? "");
  fillSelect(byId("tool_parser"), [chooseForMe("the model's"), ...(options?.tools ?? [])], chosen.tool_parser ?? "");
  const sizes = options?.sizes ?? [];
  if (sizes.length) fillRadios(byId("sizes"), "size", sizes, sizes.find((one) => one.value.toLowerCase() === (plan?.model.id || chosen.model).toLowerCase())?.value ?? sizes[0].value, chooseModel);
  else byId("sizes").replaceChildren();
}

function listModels() {
  const words = byId("model-search").value.toLowerCase().split(/\s+/).filter(Boolean);
  const found = facts.models.filter((one) => words.every((word) => one.words.includes(word)));
  byId("models-count").textContent = words.length ? `${found.length} of ${facts.models.length} known models` : `${facts.models.length} known models`;
  byId("models").replaceChildren(...found.map((one) => make("option", { value: one.id }, `${one.id} (${one.category})`)));
  byId("models").value = chosen.model ?? "";
}

function chooseModel(id) {
  byId("model").value = id;
  byId("models").value = id;
  change("model", id);
}

// ---- hardware ----------------------------------------------------------------------------------------------------

function showHardware() {
  const match = /^\s*(?:(\d+)\s*x\s*)?(?:(\d+)\s*x\s*)?(\S.*?)\s*$/i.exec(chosen.platform ?? "");
  const named = Boolean(chosen.platform);
  byId("hardware-here").checked = !named;
  byId("hardware-named").checked = named;
  byId("platform-row").hidden = !named;
  const gpus = facts.gpus.map((one) => ({ ...one, label: `${one.label} (${one.note.split(",")[0]})` }));
  if (match) {
    byId("machines").value = match[2] ? match[1] : 1;
    byId("gpu-count").value = match[2] ?? match[1] ?? 1;
  }
  const spelled = match?.[3] ?? gpus[0].value;
  fillSelect(byId("gpu"), gpus, gpus.find((one) => one.value.toLowerCase() === spelled.toLowerCase())?.value ?? spelled);
}

function readHardware() {
  const named = byId("hardware-named").checked;
  byId("platform-row").hidden = !named;
  const [machines, count] = [byId("machines").value || 1, byId("gpu-count").value || 1];
  const name = Number(machines) === 1 ? `${count}x${byId("gpu").value}` : `${machines}x${count}x${byId("gpu").value}`;
  change("platform", named ? name : "", { wait: true });
}

// ---- words, as a shell splits them -------------------------------------------------------------------------------

function splitWords(text) {
  return [...text.matchAll(/(?:"[^"]*"?|'[^']*'?|[^\s"'])+/g)].map(([word]) => word.replace(/"([^"]*)"?|'([^']*)'?/g, "$1$2"));
}

const quoteWord = (word) => (!/[\s"']/.test(word) ? word : word.includes("'") ? `"${word}"` : `'${word}'`);

// ---- all the other choices ---------------------------------------------------------------------------------------

function makeControl(field) {
  const id = `field-${field.name}`;
  const value = chosen[field.name] ?? facts.defaults[field.name];
  const set = (texts, wait) => change(field.name, readValue(field, texts), { wait });
  let control;
  if (field.kind === "yes") {
    control = make("input", { type: "checkbox", id });
    control.checked = value;
    control.addEventListener("change", () => set([control.checked ? "1" : "0"], false));
    return make("label", { class: "check" }, control, ` ${field.label}`);
  }
  if (field.kind === "yes-or-no" || field.kind === "one-of") {
    const rows = field.kind === "one-of" ? field.choices.map((one) => [one, one]) : [["", "the engine's default"], ["1", "yes"], ["0", "no"]];
    control = make("select", { id }, ...rows.map(([one, label]) => make("option", { value: one }, label)));
    control.value = value === null ? "" : value === true ? "1" : value === false ? "0" : value;
    control.addEventListener("change", () => set([control.value], false));
  } else {
    const counts = field.kind === "count" || field.kind === "share";
    control = make("input", { id, type: counts ? "number" : "text", min: field.least, step: field.kind === "share" ? "0.01" : undefined, placeholder: field.example, spellcheck: "false" });
    control.value = JSON.stringify(value) === JSON.stringify(facts.defaults[field.name]) ? "" : Array.isArray(value) ? value.map(quoteWord).join(" ") : value;
    if (field.name in facts.fixed) control.readOnly = true;
    control.addEventListener("input", () => set(field.kind === "words" ? splitWords(control.value) : [control.value], true));
  }
  return make("label", { for: id }, field.label, control);
}

function makeMore() {
  const parts = [];
  for (const [group, title] of Object.entries(facts.groups)) {
    const own = facts.fields.filter((one) => one.group === group && !OWN.includes(one.name) && (!(one.name in facts.fixed) || facts.fixed[one.name]));
    if (!own.length) continue;
    const open = own.some((one) => one.name in chosen);
    parts.push(make("details", { open }, make("summary", {}, make("h2", {}, title)), ...own.map(makeControl)));
  }
  byId("more").replaceChildren(...parts);
}

function showChosen() {
  showHardware();
  byId("model").value = chosen.model ?? "";
  listModels();
  for (const name of ["context", "concurrency"]) byId(name).value = chosen[name] ?? "";
  for (const name of ["thinking", "tools"]) byId(name).checked = chosen[name] ?? false;
  fillSelect(byId("form"), facts.forms, chosen.form ?? facts.defaults.form);
  showFormNote();
  makeMore();
  showOptions(null, null);
}

function showFormNote() {
  byId("form-note").textContent = facts.forms.find((one) => one.value === byId("form").value)?.note ?? "";
}

// ---- events ------------------------------------------------------------------------------------------------------

function listen() {
  byId("choices").addEventListener("submit", (event) => event.preventDefault());
  for (const id of ["hardware-here", "hardware-named", "gpu"]) byId(id).addEventListener("change", readHardware);
  for (const id of ["gpu-count", "machines"]) byId(id).addEventListener("input", readHardware);
  byId("model-search").addEventListener("input", listModels);
  byId("model-search").addEventListener("keydown", (event) => {
    const models = byId("models");
    if (event.key === "Enter" && models.options.length) chooseModel(models.options[0].value);
    else if (event.key === "ArrowDown") {
      event.preventDefault();
      models.focus();
    }
  });
  byId("models").addEventListener("change", () => chooseModel(byId("models").value));
  byId("model").addEventListener("input", () => change("model", byId("model").value.trim(), { wait: true }));
  byId("engine").addEventListener("change", () => change("engine", byId("engine").value));
  byId("version").addEventListener("change", () => change("engine", byId("version").value || byId("engine").value));
  for (const name of ["context", "concurrency"]) byId(name).addEventListener("input", () => change(name, readValue(fieldOf(name), [byId(name).value]), { wait: true }));
  for (const name of ["thinking", "tools"]) byId(name).addEventListener("change", () => change(name, byId(name).checked));
  for (const name of ["reasoning_parser", "tool_parser"]) byId(name).addEventListener("change", () => change(name, byId(name).value));
  byId("form").addEventListener("change", () => {
    showFormNote();
    change("form", byId("form").value);
  });
  byId("reset").addEventListener("click", () => {
    chosen = {};
    byId("model-search").value = "";
    if (facts.here_error) chosen.platform = `8x${facts.gpus[0].value}`;
    showChosen();
    ask();
  });
  window.addEventListener("popstate", () => {
    readAddress();
    showChosen();
    ask();
  });
  document.addEventListener("click", (event) => {
    const button = event.target.closest("button.copy");
    if (button) copy(byId(button.dataset.copies), button);
  });
}

async function copy(block, button) {
  let done = true;
  try {
    await navigator.clipboard.writeText(block.textContent);
  } catch {
    getSelection().selectAllChildren(block);
    done = document.execCommand("copy");
  }
  button.textContent = done ? "Copied" : "Press Ctrl-C";
  setTimeout(() => (button.textContent = "Copy"), 2000);
}

async function start() {
  try {
    facts = await (await fetch("facts")).json();
  } catch {
    byId("verdict").textContent = "xpukit does not answer: start it again (xpukit serve --web) and load the page";
    return;
  }
  readAddress();
  byId("hardware-here").disabled = Boolean(facts.here_error);
  if (!chosen.platform && facts.here_error) chosen.platform = `8x${facts.gpus[0].value}`;
  const kind = facts.source ? `the recorded machine (${facts.source})` : "this machine";
  byId("here-label").textContent = facts.here ? `${kind}: ${facts.here}` : `${kind}: ${facts.here_error}`;
  byId("version-of").textContent = `xpukit ${facts.version}`;
  listen();
  showChosen();
  ask();
}

start();
