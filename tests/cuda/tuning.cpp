// Opens an engine on the mock driver, makes a session, then opens another engine with the first one's weights, and
// prints the engine's log and the driver's calls, one a line, and the name of each stage behind it.
//
// usage: tuning ENGINE OTHER
#include "mock_host.h"

namespace {

void end_stage(const char* name) { std::printf("%s== %s\n", mock_log(), name); }

}  // namespace

int main(int, char** arguments) {
  penstock_engine_params params = penstock::engine_params();
  params.device = PENSTOCK_DEVICE_CUDA;
  params.log = [](penstock_log_level, const char* message, void*) { std::printf("%s\n", message); };
  {
    const penstock::Engine engine(arguments[1], params);
    end_stage("open");
    penstock::Session session(engine);
    end_stage("session");
    params.weights_from = engine.get();
    const penstock::Engine other(arguments[2], params);
    end_stage("other");
    expect(penstock_session_prepare(session.get(), other.get()) == PENSTOCK_OK, penstock_last_error());
    end_stage("prepare");
  }
  return end_on_mock();
}
