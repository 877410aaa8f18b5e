// An unmodified program with the official OpenAI SDK. It knows no gateway; it prints what it got, one JSON object a line.
import OpenAI from "openai";

const messages = [{ role: "user", content: "hello there" }];
const say = (what) => console.log(JSON.stringify(what));
const client = new OpenAI();

async function normal() {
  const model = "gpt-4o-mini";
  const chat = await client.chat.completions.create({ model, messages });
  say({ what: "chat", text: chat.choices[0].message.content, usage: chat.usage });
  let text = "", usage = null;
  for await (const chunk of await client.chat.completions.create({ model, messages, stream: true, stream_options: { include_usage: true } })) {
    text += chunk.choices.map((choice) => choice.delta.content ?? "").join("");
    usage = chunk.usage ?? usage;
  }
  say({ what: "chat stream", text, usage });
  const response = await client.responses.create({ model, input: "hello there" });
  say({ what: "responses", text: response.output_text, usage: response.usage });
  const stream = client.responses.stream({ model, input: "hello there" });
  const final = await stream.finalResponse();
  say({ what: "responses stream", text: final.output_text, usage: final.usage });
}

await normal();
