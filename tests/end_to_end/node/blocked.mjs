// The official Node SDKs, unmodified, each asking for models that are refused, and for streams that are cut. The file `PLAN` holds what
// to ask: `[{case, how, models, door}, …]`, of each all models one after the other. It prints one JSON object for each: what the SDK
// threw, or how the stream ended for it.
import { readFileSync } from "node:fs";
import { createAnthropic } from "@ai-sdk/anthropic";
import { createGoogleGenerativeAI } from "@ai-sdk/google";
import { createOpenAI } from "@ai-sdk/openai";
import Anthropic from "@anthropic-ai/sdk";
import {
  BedrockRuntimeClient,
  ConverseCommand,
  ConverseStreamCommand,
  InvokeModelCommand,
  InvokeModelWithResponseStreamCommand,
} from "@aws-sdk/client-bedrock-runtime";
import { generateText, streamText } from "ai";
import OpenAI from "openai";

const messages = [{ role: "user", content: "hello there" }];
const talk = [{ role: "user", content: [{ text: "hello there" }] }];
const body = JSON.stringify({ prompt: "\n\nHuman: hello there\n\nAssistant:", max_tokens_to_sample: 5000 });
const contentType = "application/json";
const prompt = "hello there";
const AT_ONCE = 16;

async function* texts(model) {
  const failures = [];
  const stream = streamText({ model, prompt, onError: ({ error }) => { failures.push(error); } });
  for await (const part of stream.fullStream) {
    if (part.type === "error") {  // a provider's own error in a stream is passed on as it came
      throw part.error instanceof Error ? part.error : Object.assign(new Error(JSON.stringify(part.error)), { name: "error part" });
    }
    yield part;
  }
}

// Every case by one door; the SDKs that read no address from the environment are given one.
function cases(door) {
  const openai = new OpenAI(), claude = new Anthropic(), amazon = new BedrockRuntimeClient();
  const whole = {
    "openai chat": (model) => openai.chat.completions.create({ model, messages }),
    "openai responses": (model) => openai.responses.create({ model, input: prompt }),
    "anthropic messages": (model) => claude.messages.create({ model, max_tokens: 100, messages }),
    "bedrock converse": (modelId) => amazon.send(new ConverseCommand({ modelId, messages: talk })),
    "bedrock invoke": (modelId) => amazon.send(new InvokeModelCommand({ modelId, body, contentType })),
  };
  const stream = {
    "openai chat": (model) => openai.chat.completions.create({ model, messages, stream: true }),
    "openai responses": (model) => openai.responses.create({ model, input: prompt, stream: true }),
    "anthropic messages": (model) => claude.messages.create({ model, max_tokens: 5000, messages, stream: true }),
    "bedrock converse": async (modelId) => (await amazon.send(new ConverseStreamCommand({ modelId, messages: talk }))).stream,
    "bedrock invoke": async (modelId) => (await amazon.send(new InvokeModelWithResponseStreamCommand({ modelId, body, contentType }))).body,
  };
  const ai = {
    gemini: createGoogleGenerativeAI({ baseURL: door && `${door}/gemini/v1beta` }),
    openai: createOpenAI({ baseURL: door && `${door}/openai/v1` }),
    "openai chat": createOpenAI({ baseURL: door && `${door}/openai/v1` }).chat,
    anthropic: createAnthropic({ baseURL: door && `${door}/anthropic/v1` }),
  };
  for (const [name, make] of Object.entries(ai)) {
    whole[`AI SDK ${name}`] = (id) => generateText({ model: make(id), prompt });
    stream[`AI SDK ${name}`] = (id) => texts(make(id));
  }
  return { whole, stream };
}

const doors = { base_url: cases(process.env.DOOR) };
for (const name of Object.keys(process.env)) {
  if (name.endsWith("_BASE_URL")) delete process.env[name];
}
doors.forward = cases(undefined);

async function attempt({ case: name, how, models, door }) {
  const began = Date.now();
  let pieces = 0, raised = null;
  try {
    for (const model of models) {
      const answer = await doors[door][how][name](model);
      if (how === "stream") for await (const _ of answer) pieces += 1;
    }
  } catch (error) {
    raised = error ?? new Error("nothing");
  }
  console.log(JSON.stringify({
    model: models.at(-1),
    error: raised && (raised.constructor?.name === "Object" ? "object" : raised.name && raised.name !== "Error" ? raised.name : raised.constructor.name),
    status: raised?.status ?? raised?.statusCode ?? raised?.$metadata?.httpStatusCode ?? null,
    message: raised ? `${raised.message ?? ""} ${JSON.stringify(raised)}` : "",
    pieces, seconds: (Date.now() - began) / 1000,
  }));
}

const plan = JSON.parse(readFileSync(process.env.PLAN, "utf8"));
const next = async () => { for (let one; (one = plan.shift());) await attempt(one); };
await Promise.all(Array.from({ length: AT_ONCE }, next));
